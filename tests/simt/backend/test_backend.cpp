// The whole CUDA backend: golden models trained end to end, in fp32 as closely as on the CPU, and in bf16;
// and what a run promises of its bits. Linked for the SIMT layer (matrix products by plain loops, memory by
// the host) and for a GPU.
#include "bench/recording.h"
#include "bench/time_kernels.h"
#include "core/file.h"
#include "tests/own_folder.h"
#include "tests/train/golden_spread.h"
#include "tests/train/many_ranks.h"
#include "tests/train/recompute.h"

namespace saslm {
namespace {

constexpr GoldenTolerance kFp32{.loss = 2e-4, .grad_norm = 2e-4, .grad_floor = 1e-6};

// In bf16 a weight is rounded by up to 2^-9 of itself, anew after every update, and so is every activation on
// its way: a loss near log V keeps two and a half digits, a gradient's norm one and a half. What a model
// makes of it beyond that is its own, and measured: by weights that are off by a weight's and an activation's
// rounding, 2^-8, in eight draws.
constexpr GoldenTolerance kBf16{.loss = 5e-3, .grad_norm = 5e-2, .grad_floor = 0x1p-8};

class CudaBackend : public testing::TestWithParam<std::string> {};

TEST_P(CudaBackend, TrainsInFp32AsTheGoldenNumbersSay) {
  const GoldenRun<float> run(GetParam(), cuda_ops<float>(), kFp32);
  run.expect_first_gradients();
  run.expect_every_step();
}

TEST_P(CudaBackend, TrainsInBf16NearTheGoldenNumbers) {
  const GoldenRun<bf16> run(GetParam(), cuda_ops<bf16>(), kBf16, golden_spread(GetParam(), 0x1p-8, 8));
  run.expect_first_gradients();
  run.expect_every_step();
}

TEST_P(CudaBackend, RunsEveryCallOnMemoryOfTheBench) {
  for (const KernelCall<bf16>& call : record_calls<bf16>({golden_config(GetParam())}))
    EXPECT_GT(time_kernel(call, cuda_ops<bf16>(), {.samples = 1, .sample_ms = 0, .rotate_bytes = 1}).ms, 0)
        << call.op << " " << call.shape;
}

TEST(CudaRecompute, GivesTheSameBitsWhateverIsRecomputed) {
  for (const char* name : {"gqa_sas", "moh_authors"}) expect_recompute_changes_no_bit(name, cuda_ops<bf16>());
}

// Several ranks on one GPU: threads in turn. Weights of two bytes travel as pairs.
TEST(CudaRanks, LearnTheBitsOfOneShardedOrNot) {
  expect_ranks_change_no_bit("mhe_mul", cuda_ops<bf16>(), {2, 4}, 2);
}

TEST(CudaRanks, GoOnFromWhatAnyOthersHandedOver) {
  const Ops<bf16>& ops = cuda_ops<bf16>();
  const Learned alone = learn("mhe_mul", ops, 1, {}, 3);
  Learned state;
  for (const auto& [ranks, sharded] : {std::pair{4, true}, {1, false}, {2, true}})
    state = learn("mhe_mul", ops, ranks, {.sharded = sharded}, 1, state);
  EXPECT_TRUE(state == alone);
}

// Trains a run of the config `more` steps on, and stops it there. A run is asked whether to stop in
// evaluations too, so what counts is the steps that it has done.
template <class T>
void train_on(const Config& config, const std::filesystem::path& run_dir, int64_t more) {
  struct Steps : TrainObserver {
    void step(const StepRecord&) override { ++done; }
    int64_t done = 0;
  } steps;
  const auto stop = [&] { return steps.done >= more; };
  Trainer<T> trainer(config, {.run_dir = run_dir, .stop = stop}, cuda_ops<T>(), steps);
  const int64_t begun = trainer.state().step;
  EXPECT_EQ(trainer.run(), TrainEnd::stopped);
  EXPECT_EQ(trainer.state().step, begun + more) << "stopped elsewhere";
}

// The last save of a run from the config's seed that was stopped after each of `stops` further steps.
template <class T>
std::string saved_by_run(const std::string& name, const std::vector<int64_t>& stops) {
  const test::OwnFolder folder;
  const std::filesystem::path run_dir = folder / "run";
  const Config config = golden_config(name);
  TrainObserver nobody;
  int64_t reached = 0;
  for (const int64_t more : stops) {
    train_on<T>(config, run_dir, more);
    reached += more;
  }
  Trainer<T> trainer(config, {.run_dir = run_dir}, cuda_ops<T>(), nobody);
  EXPECT_EQ(trainer.state().step, reached) << "goes on from where it was stopped";
  EXPECT_EQ(trainer.run(), TrainEnd::finished);
  std::string saved;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(run_dir / "checkpoints"))
    if (entry.path().filename() == "model.safetensors") {
      EXPECT_TRUE(saved.empty()) << "only the last save is kept";
      saved = read_file(entry.path()) + read_file(entry.path().parent_path() / "optimizer.safetensors");
    }
  EXPECT_FALSE(saved.empty());
  return saved;
}

class CudaRuns : public CudaBackend {};

// A save holds all that the device does: else a resumed run would differ from an uninterrupted one.
TEST_P(CudaRuns, RepeatAndResumeBitForBit) {
  const std::string saved = saved_by_run<bf16>(GetParam(), {});
  EXPECT_TRUE(saved == saved_by_run<bf16>(GetParam(), {})) << "the same run twice";
  EXPECT_TRUE(saved == saved_by_run<bf16>(GetParam(), {3, 4})) << "stopped twice";
}

// Two runs may choose different algorithms, but a run keeps those it has chosen.
TEST_P(CudaRuns, KeepTheProductsThatTheyHaveTimed) {
  namespace fs = std::filesystem;
  const test::OwnFolder folder;
  const fs::path begun = folder / "begun", copy = folder / "copy";
  Config config = golden_config(GetParam());
  config.runtime.matmul = MatmulChoice::timed;
  config.checkpoint.keep_last = 9;
  TrainObserver nobody;
  train_on<bf16>(config, begun, 2);  // all products of training and of evaluation have been timed
  fs::copy(begun, copy, fs::copy_options::recursive);
  std::vector<std::string> tables, weights;
  for (const fs::path& dir : {begun, copy}) {
    Trainer<bf16>(config, {.run_dir = dir}, cuda_ops<bf16>(), nobody).run();
    for (const CheckpointEntry& saved : list_checkpoints(dir / "checkpoints")) {
      const std::string state = read_file(saved.path + "/state.json");
      tables.push_back(run_state_from_json(state, saved.path).product_table);
      weights.push_back(read_file(saved.path + "/model.safetensors"));
    }
  }
  ASSERT_EQ(tables.size(), 4u);
  EXPECT_NE(tables[0], "");
  EXPECT_EQ(tables, std::vector<std::string>(4, tables[0]));
  EXPECT_TRUE(weights[1] == weights[3]) << "the same save, finished twice";
}

TEST_P(CudaRuns, HoldWhatIsStored) {
  const Config c = golden_config(GetParam());
  Engine<bf16> engine(c.model, training_shape(c), Mode::train, cuda_ops<bf16>());
  const auto each = [&](const std::vector<ConstNamedTensor>& tensors, const auto& use) {
    for (size_t t = 0; t < tensors.size(); ++t) {
      int64_t size = 1;
      for (const int64_t extent : tensors[t].shape) size *= extent;
      std::vector<float> values(static_cast<size_t>(size));
      for (size_t i = 0; i < values.size(); ++i) values[i] = float(t) / 128 + float(i) / (1 << 20);
      use(tensors[t], values);
    }
  };
  const auto store = [&](const ConstNamedTensor& tensor, const std::vector<float>& values) {
    engine.state().store({tensor.name, tensor.shape, values});
  };
  const auto expect = [&](const ConstNamedTensor& tensor, const std::vector<float>& values) {
    EXPECT_TRUE(std::equal(values.begin(), values.end(), tensor.data.begin(), tensor.data.end()))
        << tensor.name;
  };
  const StateTensors names = engine.state().names();
  each(names.weights, store), each(names.optimizer, store);
  const StateTensors state = engine.state().fetch();
  ASSERT_EQ(state.optimizer.size(), 2 * state.weights.size());
  each(state.weights, expect), each(state.optimizer, expect);
}

std::string name_of_golden(const testing::TestParamInfo<std::string>& test) {
  return test.param;
}

// A model of every kind of attention and of every operation: what CI has time for. Programs for a GPU run
// them all, as --gtest_also_run_disabled_tests does.
INSTANTIATE_TEST_SUITE_P(Some, CudaBackend,
                         testing::Values("mha_learned", "gqa_sas", "mla_sas", "tpa_odd", "mhe_mul",
                                         "moh_authors"),
                         name_of_golden);
INSTANTIATE_TEST_SUITE_P(DISABLED_All, CudaBackend, testing::ValuesIn(golden_cases()), name_of_golden);
INSTANTIATE_TEST_SUITE_P(One, CudaRuns, testing::Values("mhe_mul"), name_of_golden);
INSTANTIATE_TEST_SUITE_P(DISABLED_Some, CudaRuns,
                         testing::Values("mha_learned", "gqa_sas", "mla_sas", "tpa_odd", "moh_authors"),
                         name_of_golden);

}  // namespace
}  // namespace saslm
