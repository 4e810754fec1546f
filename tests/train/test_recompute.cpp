// runtime.recompute: less memory, the same bits; and what plans say of it.
#include "core/error.h"
#include "tests/train/recompute.h"

namespace saslm {
namespace {

class Recomputed : public testing::TestWithParam<std::string> {
 protected:
  Plan plan(Recompute recompute, int64_t n_layer) const {
    Config c = golden_config(GetParam(), recompute);
    c.model.n_layer = n_layer;
    return make_plan<float>(c);
  }
  static int64_t activations(const Plan& plan) {
    for (const auto& [region, bytes] : plan.bytes_by_region)
      if (region == name_of(Region::activations)) return bytes;
    return 0;
  }
  int64_t a_layer_adds(Recompute recompute) const {
    return activations(plan(recompute, 5)) - activations(plan(recompute, 4));
  }
};

TEST_P(Recomputed, LossesGradientsAndWeightsAreBitForBitThoseOfNone) {
  expect_recompute_changes_no_bit(GetParam(), cpu_ops<float>());
}

TEST_P(Recomputed, UnderBlockALayerKeepsTheStreamAlone) {
  const Config c = golden_config(GetParam());
  const int64_t stream = c.train.micro_batch * c.train.seq_len * c.model.d_model * int64_t(sizeof(float));
  EXPECT_EQ(a_layer_adds(Recompute::block), round_up(stream, 256));
  EXPECT_LT(plan(Recompute::block, 5).arena_bytes, plan(Recompute::none, 5).arena_bytes);
}

TEST_P(Recomputed, UnderSimALayerKeepsNothingSimulated) {
  const Config c = golden_config(GetParam());
  if (!c.model.attention.sas) {
    EXPECT_EQ(plan(Recompute::sim, 5).arena_bytes, plan(Recompute::none, 5).arena_bytes);
    return;
  }
  Layout<float> layout(Mode::train);
  const Transformer<float> model(layout, c.model, training_shape(c));
  int64_t simulated = 0;
  for (const BufferLine& line : layout.buffers())
    for (const char* stream : {"q.y", "k.y", "v.y"})
      if (line.name == std::string("layers.0.attn.sas.") + stream) simulated += round_up(line.bytes, 256);
  EXPECT_GT(simulated, 0);
  EXPECT_EQ(a_layer_adds(Recompute::sim), a_layer_adds(Recompute::none) - simulated);
  EXPECT_LT(plan(Recompute::sim, 5).arena_bytes, plan(Recompute::none, 5).arena_bytes);
}

TEST_P(Recomputed, FlopsAreTheModelsAndWhatIsMadeAgainIsBesideThem) {
  const bool simulated = golden_config(GetParam()).model.attention.sas.has_value();
  const Plan none = plan(Recompute::none, 5), sim = plan(Recompute::sim, 5),
             block = plan(Recompute::block, 5);
  for (const Plan* p : {&sim, &block}) EXPECT_EQ(p->flops_per_token, none.flops_per_token);
  EXPECT_EQ(none.flops_recomputed, 0);
  EXPECT_EQ(sim.flops_recomputed > 0, simulated);
  // All blocks but the last, forward (a third of training), without the mlp's last product.
  const double blocks = (none.flops_attention + none.flops_mlp) / 3 * 4 / 5;
  EXPECT_GT(block.flops_recomputed, sim.flops_recomputed);
  EXPECT_LT(block.flops_recomputed, blocks);
  EXPECT_GT(block.flops_recomputed, blocks - none.flops_mlp / 3 * 4 / 5 / 2 - 1);
}

INSTANTIATE_TEST_SUITE_P(Cases, Recomputed, testing::ValuesIn(golden_cases()),
                         [](const auto& test) { return test.param; });

// ---- Advice

class WhatFits : public testing::Test {
 protected:
  WhatFits() { config_.model.n_layer = 6, config_.train.micro_batch = 8; }
  int64_t bytes(Recompute recompute, int64_t micro_batch = 8) const {
    Config c = config_;
    c.runtime.recompute = recompute, c.train.micro_batch = micro_batch;
    c.train.grad_accum = config_.train.grad_accum * config_.train.micro_batch / micro_batch;
    return make_plan<float>(c).arena_bytes;
  }
  std::string refusal(int64_t available) const {
    try {
      check_plan_fits<float>(config_, make_plan<float>(config_), available);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "";
  }
  static std::string with(const char* what, int64_t bytes) {
    return what + (" (" + std::to_string(bytes) + " bytes)");
  }
  static void expect_ends(const std::string& text, const std::string& end) {
    EXPECT_TRUE(text.ends_with(end)) << text << "\nwanted at the end: " << end;
  }
  static constexpr const char* kAfter = "; train.grad_accum makes up for a smaller micro_batch";

  Config config_ = golden_config("sas_k5");
};

TEST_F(WhatFits, AGpuKeepsRoomForCudaAndSaysSo) {
  Config c = config_;
  for (const auto& [ranks, headroom] :
       {std::pair{int64_t{1}, kGpuHeadroom}, {int64_t{2}, kGpuHeadroomOfRanks}}) {
    c.train.ranks = ranks;
    const Plan plan = make_plan<bf16>(c, false);
    EXPECT_EQ(plan.headroom_bytes, headroom);
    const int64_t enough = plan.arena_bytes + headroom;
    EXPECT_NO_THROW(check_plan_fits<bf16>(c, plan, enough, false));
    try {
      check_plan_fits<bf16>(c, plan, enough - 1, false);
      ADD_FAILURE() << "there is too little";
    } catch (const ConfigError& error) {
      const std::string said = "there are " + std::to_string(plan.arena_bytes - 1) + " beside the " +
                               std::to_string(headroom) + " that CUDA is left; these would fit";
      EXPECT_NE(std::string(error.what()).find(said), std::string::npos) << error.what();
    }
  }
  EXPECT_EQ(make_plan<float>(config_, true).headroom_bytes, 0);
}

TEST_F(WhatFits, TheMildestSettingThatSufficesIsNamed) {
  ASSERT_LT(bytes(Recompute::none, 4), bytes(Recompute::sim));
  EXPECT_EQ(refusal(bytes(Recompute::none)), "");
  expect_ends(refusal(bytes(Recompute::sim)),
              "these would fit: " + with("train.micro_batch 4", bytes(Recompute::none, 4)) + ", or " +
                  with("runtime.recompute \"sim\"", bytes(Recompute::sim)) + kAfter);
}

TEST_F(WhatFits, ASettingThatDoesNotSufficeIsNamedWithTheMicroBatchItAllows) {
  config_.model.n_layer = 3;  // with more, "block" alone suffices
  const int64_t available = bytes(Recompute::none, 2);
  ASSERT_GT(bytes(Recompute::sim, 4), available);
  ASSERT_LT(bytes(Recompute::block, 4), available);
  ASSERT_GT(bytes(Recompute::block), available);
  expect_ends(refusal(available),
              "these would fit: " + with("train.micro_batch 2", bytes(Recompute::none, 2)) + ", or " +
                  with("train.micro_batch 4 with runtime.recompute \"block\"", bytes(Recompute::block, 4)) +
                  kAfter);
}

TEST_F(WhatFits, MilderSettingsThanTheGivenOneAreNotAdvised) {
  config_.runtime.recompute = Recompute::block;
  expect_ends(refusal(bytes(Recompute::block, 4)),
              "these would fit: " + with("train.micro_batch 4", bytes(Recompute::block, 4)) + kAfter);
}

TEST_F(WhatFits, AModelThatIsTooLargeIsCalledThat) {
  int64_t least =
      bytes(Recompute::block);  // smaller micro-batches are more, and more sums of gradients are alive
  for (const int64_t micro_batch : {4, 2, 1}) least = std::min(least, bytes(Recompute::block, micro_batch));
  expect_ends(refusal(least - 1), "the model itself is too large for this machine");
}

}  // namespace
}  // namespace saslm
