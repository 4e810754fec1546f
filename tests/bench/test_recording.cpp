#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "bench/recording.h"
#include "train/plan.h"

namespace saslm {
namespace {

Config shipped(const std::string& name) {
  Config config = load_config(std::string(SASLM_CONFIGS_DIR) + "/" + name + ".json", {});
  config.train.micro_batch = config.train.global_batch = 2;
  config.train.grad_accum = 1;
  return config;
}

template <class T>
double flops_per_token(const Config& config, const std::string& op) {
  double sum = 0;
  for (const KernelCall<T>& call : record_calls<T>({config}))
    if (call.op == op) sum += double(call.repeats[0]) * call.flops;
  return sum / double(config.train.micro_batch * config.train.seq_len);
}

TEST(Recording, ShippedKindsCallEveryOperationButTheOneOfARunsStart) {
  std::set<std::string> called;
  for (const char* kind : {"mha", "sas", "mla", "tpa", "mhe", "moh"})
    for (const auto& call : record_calls<float>({shipped(std::string("debug_cpu_") + kind)}))
      called.insert(call.op);
  const std::vector<std::string> names = operation_names();
  std::set<std::string> expected(names.begin(), names.end());
  expected.erase("rope_fill");
  expected.erase("accumulate");  // only where a step has several micro-batches
  EXPECT_EQ(called, expected);
}

TEST(Recording, WorkOfTheSmallPaperModelIsWhatArithmeticSays) {
  // Multiply-adds of a token and layer at T = 1024; 12 layers.
  const double per_layer = 12 * 2e-6;
  const Config mha = shipped("124m_mha"), sas = shipped("124m_sas");
  const double pairs = 1024 / 2;
  EXPECT_NEAR(flops_per_token<bf16>(mha, "attention_fwd") / 1e6, per_layer * 12 * (64 + 64) * pairs, 1e-6);
  EXPECT_NEAR(flops_per_token<bf16>(mha, "attention_bwd") / 1e6, per_layer * 12 * (5 * 64) * pairs, 1e-6);
  EXPECT_NEAR(flops_per_token<bf16>(sas, "attention_fwd") / 1e6, per_layer * 36 * (96 + 64) * pairs, 1e-6);
  EXPECT_NEAR(flops_per_token<bf16>(sas, "attention_bwd") / 1e6, per_layer * 36 * (3 * 96 + 2 * 64) * pairs,
              1e-6);
  const double conv1 = 5 * 64 * 12 * 36, conv2 = 5 * 64 * 36 * 36, proj1 = 36 * 64 * 96, proj2 = 36 * 96 * 96;
  const double forward = 3 * (conv1 + conv2) + 2 * (proj1 + proj2);
  const double again = 3 * conv1 + 2 * (conv2 + proj1);
  EXPECT_NEAR(flops_per_token<bf16>(sas, "sas_fwd") / 1e6, per_layer * forward, 1e-6);
  EXPECT_NEAR(flops_per_token<bf16>(sas, "sas_bwd") / 1e6, per_layer * (2 * forward + again), 1e-6);
}

// And the head's three products have the pad's rows, which no plan counts.
TEST(Recording, CallsTogetherDoThePlansWorkAndTheScoresOnceMore) {
  for (const char* name : {"124m_mha", "124m_gqa", "124m_mla"}) {
    const Config config = shipped(name);
    double flops = 0, scores = 0;
    for (const KernelCall<bf16>& call : record_calls<bf16>({config})) {
      flops += double(call.repeats[0]) * call.flops;
      if (call.op == "attention_bwd") {
        const double E = double(config.model.attention.head_dim), H = double(config.model.attention.n_head);
        scores += double(call.repeats[0]) * 2 * E * H * 1024 * 1024 / 2 * 2;  // two sequences
      }
    }
    const double plan = make_plan<bf16>(config).flops_per_token * 2 * 1024;
    const double pad = 3 * 2.0 * (50304 - 50257) * double(config.model.d_model) * 2 * 1024;
    EXPECT_NEAR(flops / (plan + scores + pad), 1, 1e-12) << name;
  }
}

TEST(Recording, WhatConfigsShareIsOneCallWithACountForEach) {
  const std::vector<KernelCall<float>> calls =
      record_calls<float>({shipped("bench_cpu_mha"), shipped("bench_cpu_sas")});
  std::set<std::string> keys;
  int shared = 0, only_sas = 0;
  for (const auto& call : calls) {
    EXPECT_TRUE(keys.insert(call.key).second) << call.op << " " << call.shape;
    shared += call.repeats[0] > 0 && call.repeats[1] > 0;
    only_sas += call.repeats[0] == 0;
    if (call.op == "activation_fwd") {
      EXPECT_EQ(call.repeats, (std::vector<int64_t>{6, 6}));
    } else if (call.op == "sas_fwd") {
      EXPECT_EQ(call.repeats[0], 0);
    }
  }
  EXPECT_GT(shared, 10);
  EXPECT_GT(only_sas, 5);
}

}  // namespace
}  // namespace saslm
