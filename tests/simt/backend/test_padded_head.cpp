// A vocabulary that is no multiple of 64: in bf16 the head's products are wider than it, and no result
// shows it.
// Linked for the SIMT layer and for a GPU, as test_backend.cpp.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "bench/recording.h"
#include "check/check_call.h"
#include "train/engine.h"

namespace saslm {
namespace {

constexpr int64_t kVocab = 250, kPad = 6, kTokens = 12;

Config with_vocab(bool tied) {
  Config c =
      load_config(std::string(SASLM_CONFIGS_DIR) + "/debug_cpu_mha.json",
                  {"model.n_layer=1", "model.d_model=64", "model.mlp.hidden=64", "model.vocab_size=250",
                   "train.seq_len=12", "train.micro_batch=2", "train.grad_accum=1", "train.global_batch=2"});
  c.model.tie_embeddings = tied;
  return c;
}

struct Batch {
  std::vector<int32_t> inputs, targets;
  Batch() {
    for (int64_t i = 0; i < 2 * kTokens; ++i)
      inputs.push_back(int32_t(37 * i % kVocab)), targets.push_back(int32_t(kVocab - 1 - 11 * i % kVocab));
  }
  TokenBatch tokens() const {
    return {.inputs = mat(inputs.data(), 2, kTokens), .targets = mat(targets.data(), 2, kTokens)};
  }
};

struct Step {
  double loss = 0, grad_norm = 0, evaluated = 0;
};
template <class T>
std::vector<Step> steps(Engine<T>& engine, int count) {
  const Batch batch;
  std::vector<Step> all;
  for (int i = 0; i < count; ++i) {
    const auto totals = engine.compute_gradients([&](int64_t) { return batch.tokens(); });
    engine.update(3e-3, totals.grad_norm, i + 1);
    all.push_back({totals.loss, totals.grad_norm, engine.loss(batch.tokens())});
  }
  return all;
}

// Every element behind a weight, up to the next one, in host memory.
template <class X>
std::vector<X> gap_behind(const Engine<bf16>& engine, Region region, const std::string& name) {
  const auto& params = engine.layout().params();
  const auto spec =
      std::find_if(params.begin(), params.end(), [&](const ParamSpec& p) { return p.name == name; });
  const int64_t first = spec->offset + spec->size;
  const int64_t end = spec + 1 == params.end() ? engine.layout().param_elements() : (spec + 1)->offset;
  std::vector<X> gap(size_t(end - first));
  engine.ops().copy_out(engine.stream(), gap.data(), engine.arena().whole<X>(region).data + first,
                        gap.size() * sizeof(X));
  return gap;
}
template <class X>
void expect_zeros(const Engine<bf16>& engine, Region region, const std::string& name, int64_t width) {
  const std::vector<X> gap = gap_behind<X>(engine, region, name);
  EXPECT_EQ(int64_t(gap.size()), kPad * width) << name_of(region);
  EXPECT_TRUE(std::all_of(gap.begin(), gap.end(), [](X x) { return float(x) == 0; })) << name_of(region);
}

class CudaPaddedHead : public testing::TestWithParam<bool> {};

// That of the CPU, which has no pad; and the pad's weights, gradients and masters are zeros after it.
TEST_P(CudaPaddedHead, LearnsWhatTheCpuLearns) {
  const Config c = with_vocab(GetParam());
  const std::string weight = GetParam() ? "embed.weight" : "head.weight";
  Engine<float> cpu(c.model, training_shape(c), Mode::train, cpu_ops<float>());
  Engine<bf16> gpu(c.model, training_shape(c), Mode::train, cuda_ops<bf16>());
  cpu.state().initialise(1), gpu.state().initialise(1);
  const std::vector<Step> wanted = steps(cpu, 4), got = steps(gpu, 4);
  for (size_t i = 0; i < wanted.size(); ++i) {
    EXPECT_NEAR(got[i].loss, wanted[i].loss, 5e-3 * wanted[i].loss) << i;
    EXPECT_NEAR(got[i].evaluated, wanted[i].evaluated, 5e-3 * wanted[i].evaluated) << i;
    EXPECT_NEAR(got[i].grad_norm, wanted[i].grad_norm, 5e-2 * wanted[i].grad_norm) << i;
  }
  EXPECT_LT(got[3].loss, 0.9 * got[0].loss) << "a model that learns";
  const int64_t C = c.model.d_model;
  expect_zeros<bf16>(gpu, Region::parameters, weight, C);
  for (const Region region : {Region::gradients, Region::masters})
    expect_zeros<float>(gpu, region, weight, C);
}

// The z-loss counts the vocabulary's 250 logits: six zeros more would make it 0.9 % larger.
TEST_P(CudaPaddedHead, HasTheSoftCapAndTheZLossOfTheCpu) {
  Config c = with_vocab(GetParam());
  c.model.logit_softcap = 0.5, c.train.z_loss = 0.1;
  Engine<float> cpu(c.model, training_shape(c), Mode::train, cpu_ops<float>());
  Engine<bf16> gpu(c.model, training_shape(c), Mode::train, cuda_ops<bf16>());
  cpu.state().initialise(1), gpu.state().initialise(1);
  const Batch batch;
  const auto wanted = cpu.compute_gradients([&](int64_t) { return batch.tokens(); });
  const auto got = gpu.compute_gradients([&](int64_t) { return batch.tokens(); });
  EXPECT_NEAR(wanted.aux_loss.value_or(0), 0.1 * std::pow(std::log(double(kVocab)), 2), 0.05);
  EXPECT_NEAR(got.aux_loss.value_or(0), wanted.aux_loss.value_or(1), 3e-3 * wanted.aux_loss.value_or(1));
  EXPECT_NEAR(got.loss, wanted.loss, 5e-3 * wanted.loss);
  EXPECT_NEAR(got.grad_norm, wanted.grad_norm, 5e-2 * wanted.grad_norm);
}

// Tensors, shapes and logits are those of the vocabulary.
TEST_P(CudaPaddedHead, IsNobodyElsesMatter) {
  const Config c = with_vocab(GetParam());
  Engine<float> cpu(c.model, training_shape(c), Mode::infer, cpu_ops<float>());
  Engine<bf16> gpu(c.model, training_shape(c), Mode::infer, cuda_ops<bf16>());
  const auto named = cpu.state().names().weights, same = gpu.state().names().weights;
  ASSERT_EQ(named.size(), same.size());
  for (size_t i = 0; i < named.size(); ++i) {
    EXPECT_EQ(named[i].name, same[i].name);
    EXPECT_EQ(named[i].shape, same[i].shape) << named[i].name;
  }
  cpu.state().initialise(1), gpu.state().initialise(1);
  const Batch batch;
  std::vector<float> wanted, logits;
  cpu.model().next_logits(cpu.backend(), {.inputs = mat(batch.inputs.data(), 1, 5)}, wanted);
  gpu.model().next_logits(gpu.backend(), {.inputs = mat(batch.inputs.data(), 1, 5)}, logits);
  ASSERT_EQ(int64_t(logits.size()), kVocab);
  for (size_t v = 0; v < logits.size(); ++v) EXPECT_NEAR(logits[v], wanted[v], 2e-2) << v;
}
INSTANTIATE_TEST_SUITE_P(Weights, CudaPaddedHead, testing::Bool(),
                         [](const auto& test) { return test.param ? "Tied" : "OfItsOwn"; });

// Kernels that are wrong: a loss that takes the pad for tokens, or leaves it in the gradient.
template <class Spoil>
std::vector<std::string> alarms(Spoil) {
  Ops<bf16> ops = cuda_ops<bf16>();
  ops.cross_entropy = [](Stream stream, const CrossEntropy<bf16>& a) {
    CrossEntropy<bf16> spoilt = a;
    Spoil()(spoilt);
    cuda_ops<bf16>().cross_entropy(stream, spoilt);
  };
  std::vector<std::string> why;
  for (const KernelCall<bf16>& call : record_run<bf16>(with_vocab(true)))
    if (call.op == "cross_entropy") {
      EXPECT_THAT(call.shape, testing::HasSubstr("24x256 pad 6"));
      for (const PathResult& result : check_call(call, ops)) why.push_back(result.why);
    }
  return why;
}
TEST(CudaPaddedHead, IsLookedAtByTheSelfcheck) {
  using testing::Each;
  EXPECT_THAT(alarms([](CrossEntropy<bf16>&) {}), Each(""));
  EXPECT_THAT(alarms([](CrossEntropy<bf16>& a) { a.pad = 0; }), Each(testing::Ne("")));
  EXPECT_THAT(alarms([](CrossEntropy<bf16>& a) { a.logits.cols -= a.pad, a.pad = 0; }),
              testing::Contains(testing::HasSubstr("is not finite")));
}

}  // namespace
}  // namespace saslm
