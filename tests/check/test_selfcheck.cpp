// What becomes of a verdict: kept, found again, agreed on, and told.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "bench/recording.h"
#include "check/selfcheck.h"
#include "core/file.h"
#include "ops/kernel_names.h"
#include "tests/own_folder.h"
#include "tests/train/thread_ranks.h"

namespace saslm {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Config shortest(const std::string& name) {
  Config config = load_config(std::string(SASLM_CONFIGS_DIR) + "/" + name + ".json");
  config.train.micro_batch = config.train.global_batch = 1;
  config.train.seq_len = 16;
  config.model.n_layer = 1;
  return config;
}
const KernelVerdict kVerdict{.calls = 5, .seconds = 1.5, .wrong = {{"sas_bwd.tile_4", "a call", "why"}}};
const VerdictKey kKey = {{"card", "A"}, {"driver", "1"}};

TEST(Verdicts, AreFoundByTheirKeyAlone) {
  const test::OwnFolder folder;
  const Verdicts here(folder / "a/b", kKey);
  EXPECT_FALSE(here.find());
  here.keep(kVerdict, false);
  KernelVerdict kept = kVerdict;
  kept.kept = true;
  ASSERT_TRUE(here.find());
  EXPECT_EQ(here.find()->verdict, kept);
  EXPECT_FALSE(here.find()->unfinished);
  for (const VerdictKey& other :
       {VerdictKey{{"card", "B"}, {"driver", "1"}}, {{"card", "A"}, {"driver", "2"}}})
    EXPECT_FALSE(Verdicts(folder / "a/b", other).find());
  here.keep(kVerdict, true);
  EXPECT_TRUE(here.find()->unfinished);
}

TEST(Verdicts, ThatAreTornOrOfAnotherKeyAreNone) {
  const test::OwnFolder folder;
  const Verdicts here(folder.path(), kKey), other(folder.path(), {{"card", "B"}});
  here.keep(kVerdict, false);
  const std::string text = read_file(here.path());
  atomic_write_file(here.path(), text.substr(0, text.size() / 2));
  EXPECT_FALSE(here.find());
  atomic_write_file(other.path(), text);
  EXPECT_FALSE(other.find());
}

TEST(Verdicts, AreNotKeptWhereTheyCannotBe) {
  const Verdicts nowhere("", kKey), forbidden("/proc/nothing", kKey);
  nowhere.keep(kVerdict, false), forbidden.keep(kVerdict, false);
  EXPECT_FALSE(nowhere.find());
  EXPECT_FALSE(forbidden.find());
}

TEST(VerdictKey, ChangesWithTheCallsOfARun) {
  const Ops<float>& ops = cpu_ops<float>();
  const auto key = [&](const Config& config) { return verdict_key(ops, record_run<float>(config)); };
  const Config one = shortest("debug_cpu_mha");
  Config longer = one;
  longer.train.seq_len = 17;
  EXPECT_EQ(key(one), key(one));
  EXPECT_NE(key(one), key(longer));
  EXPECT_NE(key(one), key(shortest("debug_cpu_gqa")));
}

Ops<float> without_kernels() {
  Ops<float> ops = cpu_ops<float>();
  ops.norm_fwd = [](Stream, const NormFwd<float>&) { throw MachineError("called"); };
  return ops;
}

TEST(Selfcheck, IsDoneOnceForTheSame) {
  const test::OwnFolder folder;
  const Config config = shortest("debug_cpu_mha");
  const KernelVerdict first = selfcheck(config, cpu_ops<float>(), {.folder = folder.path()});
  EXPECT_FALSE(first.kept);
  EXPECT_EQ(first.calls, int64_t(record_run<float>(config).size()));
  EXPECT_THAT(first.wrong, IsEmpty());
  EXPECT_TRUE(selfcheck(config, without_kernels(), {.folder = folder.path()}).kept);
  EXPECT_THROW(selfcheck(config, without_kernels(), {.folder = folder.path(), .again = true}), MachineError);
}

TEST(Selfcheck, NamesTheOperationThatHasNoRightKernelAndKeepsNothing) {
  const test::OwnFolder folder;
  try {
    selfcheck(shortest("debug_cpu_mha"), without_kernels(), {.folder = folder.path()});
    FAIL() << "nothing was found";
  } catch (const MachineError& error) {
    EXPECT_THAT(
        error.what(),
        HasSubstr("self-check: norm_fwd 16x64, gives wrong results on this machine: cannot be launched: "
                  "called"));
    EXPECT_THAT(error.what(), HasSubstr("runtime.selfcheck=false"));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(Selfcheck, ToTheEndTellsEveryCall) {
  int64_t calls = 0, wrong = 0;
  const EachCall each = [&](const std::string&, const std::string&, const std::vector<PathResult>& results) {
    ++calls, wrong += results.back().why.empty() ? 0 : 1;
  };
  const Config config = shortest("debug_cpu_mha");
  EXPECT_THROW(selfcheck(config, without_kernels(), {.folder = "", .to_the_end = true, .each = each}),
               MachineError);
  EXPECT_EQ(calls, int64_t(record_run<float>(config).size()));
  EXPECT_EQ(wrong, 1);
}

TEST(KernelVerdict, OfAnyRankIsThatOfAll) {
  std::vector<KernelVerdict> all(4);
  ThreadRanks(4, cpu_ops<float>()).run([&](const Communicator& comm) {
    KernelVerdict mine{.calls = 3};
    if (comm.rank() == 1) mine.wrong = {{"b", "call", "x"}};
    if (comm.rank() == 3) mine.wrong = {{"a", "call", "y"}, {"b", "call", "z"}};
    all[size_t(comm.rank())] = agreed(comm, mine);
  });
  for (const KernelVerdict& verdict : all) {
    EXPECT_EQ(verdict, all[0]);
    EXPECT_THAT(verdict.kernels(), ElementsAre("a", "b"));
  }
  EXPECT_EQ(all[0].wrong[0].why, "on rank 1: x");
}

TEST(KernelNames, AreThoseOfPathsAndUnknownOnesAreLeftOut) {
  EXPECT_EQ(kernels_named({}), 0u);
  EXPECT_NE(kernels_named({"attention_bwd.tile"}), 0u);
  EXPECT_EQ(kernels_named({"attention_bwd.tile", "of another build"}), kernels_named({"attention_bwd.tile"}));
}

}  // namespace
}  // namespace saslm
