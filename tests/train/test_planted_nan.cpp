// A number that is none, planted into any tensor of a step: the run ends with the weights and moments of one
// that passes over that step's update.
#include <filesystem>
#include <limits>

#include "tests/train/golden.h"
#include "train/schedule.h"

namespace saslm {
namespace {

constexpr int64_t kPlantedSteps = 5;

// What the planting table of verbs does, and where it has come to.
struct Planting {
  int64_t step = -1;
  int64_t offset = -1;  // of an element of the gradients; none: the first activation that is normalised
  float value = 0;
  int64_t embed_offset = 0;
  int64_t steps_seen = 0;  // whose forward has begun
};
Planting planting;

void norm_fwd(Stream stream, const NormFwd<float>& a) {
  cpu_ops<float>().norm_fwd(stream, a);
  if (planting.offset < 0 && planting.steps_seen == planting.step + 1) a.y.data[0] = planting.value;
}
void embedding_fwd(Stream stream, const EmbeddingFwd<float>& a) {
  ++planting.steps_seen;
  cpu_ops<float>().embedding_fwd(stream, a);
}
// The last of backward.
void embedding_bwd(Stream stream, const EmbeddingBwd<float>& a) {
  cpu_ops<float>().embedding_bwd(stream, a);
  if (planting.offset >= 0 && planting.steps_seen == planting.step + 1)
    a.dembed.data[planting.offset - planting.embed_offset] = planting.value;
}
const Ops<float>& planting_ops() {
  static const Ops<float> kOps = [] {
    Ops<float> ops = cpu_ops<float>();
    ops.norm_fwd = norm_fwd, ops.embedding_fwd = embedding_fwd, ops.embedding_bwd = embedding_bwd;
    return ops;
  }();
  return kOps;
}

using Tensors = std::vector<std::pair<std::string, std::vector<float>>>;

class PlantedNan : public testing::TestWithParam<const char*> {
 protected:
  PlantedNan() : config_(load_config(folder() / "config.json")) {
    config_.train.steps = kPlantedSteps;
    config_.train.grad_accum = 1;
    config_.train.global_batch = config_.train.micro_batch;
    config_.eval.every_steps = 0;
    config_.data.val.clear();
    config_.checkpoint.every_steps = 0;
  }
  std::filesystem::path folder() const { return std::filesystem::path(SASLM_GOLDEN_DIR) / GetParam(); }

  // Step by step, with the update of one left out.
  Tensors without_update(int64_t left_out) const {
    Engine<float> engine(config_.model, training_shape(config_), Mode::train, cpu_ops<float>(), single_rank(),
                         {}, config_.optim);
    EXPECT_EQ(load_weights(engine.state(), folder()), "");
    const TokenSet set(config_.data.train, config_.model.vocab_size, config_.train.seq_len);
    const BatchLoader loader(set, config_.data.shuffle, config_.train.seed);
    const int64_t B = config_.train.micro_batch;
    TokenBuffer tokens(B, config_.train.seq_len);
    int64_t updates = 0;
    for (int64_t step = 0; step < kPlantedSteps; ++step) {
      loader.load(uint64_t(step * B), tokens);
      const double norm = engine.compute_gradients([&](int64_t) { return tokens.batch(); }).grad_norm;
      if (step != left_out) engine.update(learning_rate(config_.optim, kPlantedSteps, step), norm, ++updates);
    }
    Tensors state;
    const StateTensors fetched = engine.state().fetch();
    for (const auto* tensors : {&fetched.weights, &fetched.optimizer})
      for (const ConstNamedTensor& t : *tensors)
        state.emplace_back(t.name, std::vector<float>(t.data.begin(), t.data.end()));
    return state;
  }

  struct Skips : TrainObserver {
    void step(const StepRecord& record) override {
      if (record.skipped) steps.push_back(record.step);
    }
    std::vector<int64_t> steps;
  };

  // The same by the trainer, which finds a planted number on its way.
  Tensors trained(const Planting& planted) {
    planting = planted;
    const test::OwnFolder run_dir;
    Skips skips;
    Trainer<float> trainer(config_, {.run_dir = run_dir.path(), .init_from = folder()}, planting_ops(),
                           skips);
    trainer.run();
    EXPECT_EQ(skips.steps, std::vector<int64_t>{planted.step});
    Tensors state;
    const std::string saved = list_checkpoints(run_dir / "checkpoints").back().path;
    for (const char* file : {"/model.safetensors", "/optimizer.safetensors"}) {
      const SafetensorsReader reader(saved + file);
      for (const TensorInfo& t : reader.tensors()) {
        state.emplace_back(t.name, std::vector<float>(size_t(t.count)));
        reader.read(t.name, state.back().second);
      }
    }
    return state;
  }

  std::vector<ParamSpec> params() const {
    Layout<float> layout(Mode::train);
    const Transformer<float> model(layout, config_.model, training_shape(config_));
    return layout.params();
  }

  Config config_;
};

TEST_P(PlantedNan, InAnyGradientAtAnyStepLeavesNoTrace) {
  const float values[] = {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()};
  const std::vector<ParamSpec> all = params();
  ASSERT_EQ(all[0].name, "embed.weight");
  std::vector<Tensors> wanted;
  for (int64_t step = 0; step < kPlantedSteps; ++step) wanted.push_back(without_update(step));
  EXPECT_NE(wanted[0], wanted[1]);
  for (size_t i = 0; i < all.size(); ++i) {
    const int64_t step = int64_t(i) % kPlantedSteps, element = int64_t(i * 7919) % all[i].size;
    EXPECT_TRUE(trained({.step = step,
                         .offset = all[i].offset + element,
                         .value = values[i % 3],
                         .embed_offset = all[0].offset}) == wanted[size_t(step)])
        << values[i % 3] << " in " << all[i].name << " at step " << step;
  }
}

TEST_P(PlantedNan, InAnActivationAtAnyStepLeavesNoTrace) {
  for (int64_t step = 0; step < kPlantedSteps; ++step)
    EXPECT_TRUE(trained({.step = step, .value = std::numeric_limits<float>::quiet_NaN()}) ==
                without_update(step))
        << "at step " << step;
}

INSTANTIATE_TEST_SUITE_P(Models, PlantedNan, testing::Values("gqa_sas", "moh", "mha_learned"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace saslm
