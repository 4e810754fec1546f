#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "bench/recording.h"
#include "bench/time_kernels.h"
#include "core/error.h"

namespace saslm {
namespace {

Touched span(const std::byte* at, int64_t bytes) {
  return {at, bytes, 1, {}};
}

TEST(Packing, ViewsThatOverlapStayTogetherAndOthersMoveCloser) {
  const auto addresses = reserve_addresses(1 << 20);
  const std::byte* a = addresses.get();
  const Packing packing({span(a + 65536, 100), span(a + 1000, 500), span(a + 1200, 600)});
  std::byte* block = addresses.get();  // any address: nothing is touched
  EXPECT_EQ(packing.at(block, a + 1200) - packing.at(block, a + 1000), 200);
  EXPECT_EQ((packing.at(block, a + 1000) - block) % 256, 1000 % 256);
  EXPECT_EQ((packing.at(block, a + 65536) - block) % 256, 0);
  EXPECT_LT(packing.bytes(), 2048);
  EXPECT_THROW(packing.at(block, a + 4096), ShapeError);
}

TEST(KernelCall, OnOtherMemoryItComputesTheSame) {
  const auto addresses = reserve_addresses(1 << 16);
  float* at = reinterpret_cast<float*>(addresses.get());
  const MatmulFwd<float> args{.y = mat(at, 2, 3), .x = mat(at + 64, 2, 2), .w = mat(at + 128, 3, 2)};
  const KernelCall<float> call = make_call<float>(args);
  EXPECT_EQ(call.flops, 2 * 2 * 3 * 2);
  EXPECT_EQ(call.bytes, 4 * (6 + 4 + 6));

  const Packing packing(call.touched);
  std::vector<float> block(size_t(packing.bytes()) / sizeof(float));
  auto* base = reinterpret_cast<std::byte*>(block.data());
  const auto there = [&](float* recorded) { return reinterpret_cast<float*>(packing.at(base, recorded)); };
  std::copy_n(std::vector<float>{1, 2, 3, 4}.data(), 4, there(at + 64));
  std::copy_n(std::vector<float>{1, 0, 0, 1, 1, 1}.data(), 6, there(at + 128));
  call.moved_to(packing, base)(cpu_ops<float>(), {});
  EXPECT_EQ(std::vector<float>(there(at), there(at) + 6), (std::vector<float>{1, 2, 3, 3, 4, 7}));
}

TEST(KernelCall, BytesCountGatheredRowsOnceAndScratchNever) {
  const auto addresses = reserve_addresses(1 << 20);
  float* at = reinterpret_cast<float*>(addresses.get());
  auto* tokens = reinterpret_cast<int32_t*>(at + 4096);
  const KernelCall<float> call = make_call<float>(EmbeddingBwd<float>{.dembed = mat(at, 100, 8),
                                                                      .dx = mat<const float>(at + 2048, 3, 8),
                                                                      .tokens = {tokens, 3},
                                                                      .scratch = {tokens + 64, 12},
                                                                      .seq_len = 3});
  EXPECT_EQ(call.bytes, 2 * 3 * 8 * 4 + 3 * 8 * 4 + 3 * 4);
}

TEST(Draw, IsFiniteWithinItsBoundsAndOfUnitDeviation) {
  std::vector<float> x(10000);
  draw(x.data(), 0, int64_t(x.size()), kIn);
  double sum = 0, squares = 0;
  for (const float v : x) sum += v, squares += double(v) * v;
  EXPECT_NEAR(sum / 1e4, 0, 0.04);  // four standard errors
  EXPECT_NEAR(squares / 1e4, 1, 0.04);
  std::vector<int32_t> tokens(1000);
  draw(tokens.data(), 0, 1000, indices(7));
  for (const int32_t token : tokens) EXPECT_TRUE(token >= 0 && token < 7);
}

// As head_gates_bwd wants a token's heads: no head twice. Pieces are drawn as the whole is.
TEST(Draw, TakesEachOfAFewOnce) {
  for (const auto& [below, distinct] : {std::pair{3, 3}, {6, 2}, {7, 3}, {5, 1}}) {
    const Use use{.below = below, .distinct = distinct};
    std::vector<int32_t> x(size_t(100 * distinct)), pieces(x.size());
    draw(x.data(), 0, int64_t(x.size()), use);
    std::set<int32_t> all(x.begin(), x.end());
    EXPECT_EQ(all.size(), size_t(below));
    EXPECT_TRUE(*all.begin() == 0 && *all.rbegin() == below - 1);
    for (size_t i = 0; i < x.size(); i += size_t(distinct))
      EXPECT_EQ(std::set<int32_t>(&x[i], &x[i] + distinct).size(), size_t(distinct));
    for (int64_t i = 0; i < int64_t(x.size()); i += 7)
      draw(pieces.data() + i, i, std::min<int64_t>(7, int64_t(x.size()) - i), use);
    EXPECT_EQ(pieces, x);
  }
}

// kernels/head_gates.h: a token's heads differ.
TEST(KernelCall, ATokenChoosesNoHeadTwice) {
  const int64_t B = 4, T = 50, H = 7, k = 3;
  const auto addresses = reserve_addresses(1 << 20);
  float* const at = reinterpret_cast<float*>(addresses.get());
  auto* const chosen = reinterpret_cast<int32_t*>(at + (1 << 17));
  const KernelCall<float> call =
      make_call<float>(HeadGatesBwd<float>{.dy = heads_BTHD(at, B, T, H, 4),
                                           .z = mat(at + (1 << 14), B * T, H + 2),
                                           .x = heads_BTHD<const float>(at + (1 << 15), B, T, H, 4),
                                           .chosen = {chosen, B * T * k},
                                           .routing = {.n_shared = 2, .top_k = k}});
  const auto touched = std::find_if(call.touched.begin(), call.touched.end(), [&](const Touched& t) {
    return t.begin == reinterpret_cast<const std::byte*>(chosen);
  });
  ASSERT_NE(touched, call.touched.end());
  EXPECT_EQ(touched->group, k);
  std::vector<int32_t> heads(size_t(B * T * k));
  touched->draw(reinterpret_cast<std::byte*>(heads.data()), 0, int64_t(heads.size()));
  for (size_t i = 0; i < heads.size(); i += size_t(k)) {
    EXPECT_EQ(std::set<int32_t>(&heads[i], &heads[i] + k).size(), size_t(k)) << "token " << i / size_t(k);
    for (int64_t j = 0; j < k; ++j) EXPECT_LT(heads[i + size_t(j)], int32_t(H - 2));
  }
}

TEST(TimeKernel, EveryOperationOfEveryKindRunsOnMemoryOfTheBench) {
  std::vector<Config> configs;
  for (const char* kind : {"mha", "gqa", "sas", "mla", "tpa", "mhe", "moh"}) {
    configs.push_back(load_config(std::string(SASLM_CONFIGS_DIR) + "/debug_cpu_" + kind + ".json", {}));
    configs.back().train.micro_batch = 1;
    configs.back().train.seq_len = 8;
  }
  const TimingOptions quick{.samples = 2, .sample_ms = 0, .rotate_bytes = 1 << 16};
  for (const KernelCall<float>& call : record_calls<float>(configs)) {
    const KernelTime time = time_kernel(call, cpu_ops<float>(), quick);
    EXPECT_GT(time.ms_min, 0) << call.op;
    EXPECT_LE(time.ms_min, time.ms) << call.op;
    EXPECT_LE(time.ms, time.ms_max) << call.op;
    EXPECT_GE(time.rotated_bytes, 1) << call.op;
    EXPECT_GT(call.bytes, 0) << call.op;
  }
}

}  // namespace
}  // namespace saslm
