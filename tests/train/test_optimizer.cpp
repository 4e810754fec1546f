// Another optimizer than AdamW (momentum.h), which no file of the program knows: plans, ranks, shares,
// checkpoints and resuming take it as it declares itself.
#include "core/file.h"
#include "tests/train/many_ranks.h"
#include "tests/train/momentum.h"

namespace saslm {
namespace {

// Makes matrices of more than a block, which AdamW's shares cut, and of more than a bucket.
constexpr int64_t kHidden = 600;

TEST(AnotherOptimizer, LearnsTheBitsOfOneRankShardedOrNot) {
  const Ops<float>& ops = cpu_ops<float>();
  expect_ranks_change_no_bit<float>("sas_k5", ops, {2, 4, 8}, 3, make_momentum, kHidden);
  expect_ranks_change_no_bit<float>("mhe_mul", ops, {4}, 3, make_momentum, kHidden);
}

TEST(AnotherOptimizer, GoesOnFromWhatAnyOtherRanksHandedOver) {
  const Ops<float>& ops = cpu_ops<float>();
  const Learned alone = learn<float>("sas_k5", ops, 1, {}, 4, {}, make_momentum, kHidden);
  Learned state;
  for (const auto& [ranks, sharded] : {std::pair{4, false}, {2, true}, {1, false}, {8, true}})
    state = learn<float>("sas_k5", ops, ranks, {.sharded = sharded}, 1, state, make_momentum, kHidden);
  EXPECT_TRUE(state == alone);
}

// The tensors of the run's last checkpoint, after it was stopped after every so many steps.
std::string saved_by(int ranks, int64_t zero_stage, int64_t stop_every) {
  constexpr int64_t kSteps = 4;
  const test::OwnFolder folder;
  Config c = shared_config("gqa_sas", ranks);
  c.model.mlp.hidden = kHidden;
  c.runtime.zero_stage = zero_stage;
  c.train.steps = kSteps;
  c.checkpoint.keep_last = 1;
  const auto run = [&](const Communicator& comm) {
    for (int64_t done = 0; done < kSteps;) {
      struct Steps : TrainObserver {
        void step(const StepRecord&) override { ++made; }
        int64_t made = 0;
      } steps;
      Trainer<float> trainer(c, {.run_dir = folder / "run", .stop = [&] { return steps.made >= stop_every; }},
                             cpu_ops<float>(), steps, comm, make_momentum);
      EXPECT_EQ(trainer.state().step, done);
      trainer.run();
      done += stop_every;
    }
  };
  if (ranks == 1)
    run(single_rank());
  else
    ThreadRanks(ranks, cpu_ops<float>()).run(run);
  const CheckpointEntry last = list_checkpoints(folder / "run/checkpoints").back();
  EXPECT_EQ(last.step, kSteps);
  const SafetensorsReader optimizer(last.path + "/optimizer.safetensors");
  for (const TensorInfo& t : optimizer.tensors())
    EXPECT_TRUE(t.name.starts_with("momentum.layers.") && t.shape.size() == 2) << t.name;
  return read_file(last.path + "/model.safetensors") + read_file(last.path + "/optimizer.safetensors");
}

TEST(AnotherOptimizer, SavesAndResumesBitForBitOnAnyRanks) {
  const std::string whole = saved_by(1, 0, 4);
  EXPECT_TRUE(saved_by(1, 0, 1) == whole) << "stopped after every step";
  EXPECT_TRUE(saved_by(2, 0, 2) == whole) << "on two ranks";
  EXPECT_TRUE(saved_by(4, 1, 2) == whole) << "on four ranks, sharded";
}

TEST(AnotherOptimizer, IsPlannedByWhatItDeclares) {
  Config c = shared_config("gqa_sas", 4);
  Layout<float> layout(Mode::train);
  const Transformer<float> model(layout, c.model, training_shape(c));
  int64_t of_blocks = 0, all = 0;
  for (const ParamSpec& spec : layout.params()) {
    if (Momentum::of_blocks(spec)) of_blocks += spec.room;
    all += spec.size;
  }
  const auto planned = [&](int64_t zero_stage, const OptimizerMaker<float>& optimizer) {
    c.runtime.zero_stage = zero_stage;
    return make_plan<float>(c, true, optimizer);
  };
  const auto state_bytes = [](const Plan& plan) {
    for (const auto& [name, bytes] : plan.bytes_by_buffer)
      if (name == "optimizer momentum") return bytes;
    return int64_t(0);
  };
  const Plan plan = planned(0, make_momentum), sharded = planned(1, make_momentum);
  EXPECT_EQ(state_bytes(plan), 4 * of_blocks);
  EXPECT_GE(state_bytes(sharded), of_blocks) << "a quarter";
  EXPECT_LT(state_bytes(sharded), 4 * of_blocks);
  EXPECT_LT(plan.checkpoint_bytes, planned(0, make_optimizer<float>).checkpoint_bytes - 4 * all);
}

}  // namespace
}  // namespace saslm
