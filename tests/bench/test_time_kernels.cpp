#include <gtest/gtest.h>

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
