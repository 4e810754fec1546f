// The self-check over the CUDA backend: no alarm where all is right; wrong kernels are found, named and not
// used. Linked for the SIMT layer and for a GPU, as test_backend.cpp.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "check/selfcheck.h"
#include "checkpoint/checkpoint.h"
#include "core/file.h"
#include "kernels/cuda/paths.h"
#include "tests/own_folder.h"
#include "tests/train/recompute.h"

namespace saslm {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Config shipped(const std::string& name, int64_t B, int64_t T) {
  Config config = load_config(std::string(SASLM_CONFIGS_DIR) + "/" + name + ".json");
  config.train.micro_batch = config.train.global_batch = B;
  config.train.seq_len = T;
  config.train.grad_accum = 1;
  config.model.n_layer = 1;
  config.model.vocab_size = std::min<int64_t>(config.model.vocab_size, 517);
  return config;
}

template <class T>
std::vector<std::string> alarms(const Config& config) {
  std::vector<std::string> all;
  const EachCall each = [&](const std::string& op, const std::string& shape,
                            const std::vector<PathResult>& results) {
    for (const PathResult& r : results)
      if (!r.why.empty()) all.push_back(op + " " + shape + " by " + r.path + ": " + r.why);
  };
  try {
    selfcheck(config, cuda_ops<T>(), {.folder = "", .to_the_end = true, .each = each});
  } catch (const MachineError&) {  // told by each
  }
  return all;
}

class CudaSelfcheck : public testing::TestWithParam<std::string> {};
TEST_P(CudaSelfcheck, RaisesNoAlarmInBf16) {
  EXPECT_THAT(alarms<bf16>(shipped(GetParam(), 2, 37)), IsEmpty());
}
TEST_P(CudaSelfcheck, RaisesNoAlarmInFp32) {
  EXPECT_THAT(alarms<float>(shipped(GetParam(), 2, 37)), IsEmpty());
}
INSTANTIATE_TEST_SUITE_P(Kinds, CudaSelfcheck,
                         testing::Values("debug_cpu_mha", "debug_cpu_gqa", "debug_cpu_mqa", "debug_cpu_mla",
                                         "debug_cpu_tpa", "debug_cpu_mhe", "debug_cpu_moh",
                                         "debug_cpu_window", "debug_cpu_sas", "quickstart_sas"),
                         [](const auto& test) { return test.param; });

class CudaSelfcheckAtSize : public testing::TestWithParam<std::string> {};
TEST_P(CudaSelfcheckAtSize, DISABLED_RaisesNoAlarmInBf16) {
  EXPECT_THAT(alarms<bf16>(shipped(GetParam(), 2, 140)), IsEmpty());
}
TEST_P(CudaSelfcheckAtSize, DISABLED_RaisesNoAlarmInFp32) {
  EXPECT_THAT(alarms<float>(shipped(GetParam(), 2, 140)), IsEmpty());
}
INSTANTIATE_TEST_SUITE_P(Shipped, CudaSelfcheckAtSize,
                         testing::Values("124m_mha", "124m_gqa", "124m_mqa", "124m_mla", "124m_mhe",
                                         "124m_moh", "124m_sas", "124m_tpa", "124m_tpa_sas", "353m_mha",
                                         "353m_gqa", "353m_mqa", "353m_mla", "353m_sas", "353m_tpa"),
                         [](const auto& test) { return test.param; });

// A golden model that has a fast kernel in attention, and only the slow one in its simulation.
constexpr const char* kModel = "mqa_sas_heads";

// Attention's backward with the tile kernel a little wrong, or such that it cannot be launched, and the rest
// as it is.
template <class Spoil>
Ops<bf16> with_spoilt_tile(Spoil) {
  Ops<bf16> ops = cuda_ops<bf16>();
  ops.attention_bwd = [](Stream stream, const AttentionBwd<bf16>& a) {
    const cuda::Paths paths = cuda::paths_of(cuda_ops<bf16>().limits(stream), a);
    const bool tile = !cuda::choose(paths, stream).slow();
    if (tile) Spoil::before();
    cuda_ops<bf16>().attention_bwd(stream, a);
    if (tile) Spoil::after(stream, a);
  };
  return ops;
}
struct Wrong {
  static void before() {}
  static void after(Stream stream, const AttentionBwd<bf16>& a) {
    cuda_ops<bf16>().zero(stream, a.dk.at(0, a.dk.T - 1, 0), size_t(a.dk.D) * sizeof(bf16));
  }
};
struct TooLarge {
  static void before() { throw CudaError("cudaFuncSetAttribute: invalid argument"); }
  static void after(Stream, const AttentionBwd<bf16>&) {}
};

std::string tile_of_backward() {
  const Config config = golden_config(kModel);
  std::string fastest;
  const EachCall each = [&](const std::string& op, const std::string&,
                            const std::vector<PathResult>& results) {
    if (op == "attention_bwd") fastest = results.front().path;
  };
  selfcheck(config, cuda_ops<bf16>(), {.folder = "", .each = each});
  return fastest;
}

TEST(CudaSelfcheck, LeavesAWrongKernelOut) {
  const KernelVerdict verdict = selfcheck(golden_config(kModel), with_spoilt_tile(Wrong()), {.folder = ""});
  ASSERT_FALSE(verdict.wrong.empty());
  EXPECT_EQ(verdict.wrong[0].kernel, tile_of_backward());
  EXPECT_THAT(verdict.wrong[0].call, HasSubstr("attention_bwd "));
  EXPECT_THAT(verdict.wrong[0].why, HasSubstr("wanted"));
}

TEST(CudaSelfcheck, LeavesAKernelOutThatCannotBeLaunched) {
  const KernelVerdict verdict =
      selfcheck(golden_config(kModel), with_spoilt_tile(TooLarge()), {.folder = ""});
  ASSERT_FALSE(verdict.wrong.empty());
  EXPECT_THAT(verdict.wrong[0].why, HasSubstr("cannot be launched: cudaFuncSetAttribute"));
}

TEST(CudaSelfcheck, EndsTheRunWhereNoRightKernelIsLeft) {
  Ops<bf16> ops = cuda_ops<bf16>();
  ops.sas_fwd = [](Stream stream, const SasFwd<bf16>& a) {
    cuda_ops<bf16>().sas_fwd(stream, a);
    cuda_ops<bf16>().zero(stream, a.y.data, size_t(a.y.D) * sizeof(bf16));
  };
  try {
    selfcheck(golden_config(kModel), ops, {.folder = ""});
    FAIL() << "nothing was found";
  } catch (const MachineError& error) {
    EXPECT_THAT(error.what(), HasSubstr("sas_fwd "));
    EXPECT_THAT(error.what(),
                HasSubstr("by sas_fwd.general, gives wrong results on this machine: element (0, 0, 0, 0)"));
  }
}

// A run's last save, with the kernels it avoided.
struct Saved {
  std::string weights;
  std::vector<std::string> avoided;
  bool operator==(const Saved&) const = default;
};
Saved saved_in(const std::string& run_dir) {
  const auto all = list_checkpoints(run_dir + "/checkpoints");
  const std::string& path = all.at(0).path;
  return {read_file(path + "/model.safetensors"),
          run_state_from_json(read_file(path + "/state.json"), path).avoided};
}
struct CountSteps : TrainObserver {
  int64_t steps = 0;
  void step(const StepRecord&) override { ++steps; }
};
TrainEnd train(const std::string& run_dir, const CheckKernels& check, int64_t stop_after = 0) {
  CountSteps watcher;
  Config config = golden_config(kModel);
  config.train.steps = 3;  // each takes the layer seconds
  config.eval.every_steps = 0;
  Trainer<bf16> trainer(config,
                        {.run_dir = run_dir,
                         .stop = [&] { return stop_after > 0 && watcher.steps >= stop_after; },
                         .check_kernels = check},
                        cuda_ops<bf16>(), watcher);
  return trainer.run();
}

// A kernel that a run once avoided is avoided to its end, also by the process that resumes it: its bits are
// those of an uninterrupted run.
TEST(CudaSelfcheck, IsKeptByARunThatIsResumed) {
  const CheckKernels finds = [](const Config&) {
    return KernelVerdict{.calls = 1, .wrong = {{"attention_fwd.tile", "a call", "a reason"}}};
  };
  const test::OwnFolder folder;
  EXPECT_EQ(train(folder / "plain", {}), TrainEnd::finished);
  EXPECT_EQ(train(folder / "whole", finds), TrainEnd::finished);
  EXPECT_EQ(train(folder / "parts", finds, 1), TrainEnd::stopped);
  EXPECT_EQ(train(folder / "parts", {}), TrainEnd::finished);
  const Saved plain = saved_in(folder / "plain"), whole = saved_in(folder / "whole");
  EXPECT_THAT(whole.avoided, ElementsAre("attention_fwd.tile"));
  EXPECT_TRUE(whole == saved_in(folder / "parts"));
  EXPECT_THAT(plain.avoided, IsEmpty());
  EXPECT_FALSE(plain.weights == whole.weights) << "another kernel, other bits";
}

}  // namespace
}  // namespace saslm
