// What a key's rule says about resuming and about ranks, as it is looked up by path.
#include <gtest/gtest.h>

#include "config/keys.h"
#include "config/policy.h"

namespace saslm {
namespace {

TEST(Policy, AKeyHasItsOwnOrItsBlocksAndAListEntryHasItsKeys) {
  EXPECT_EQ(policy_of("/optim/kind").on_resume, OnResume::same);
  EXPECT_EQ(policy_of("/optim/lr").on_resume, OnResume::reported);
  EXPECT_EQ(policy_of("/optim/betas/0").on_resume, OnResume::reported);
  EXPECT_EQ(policy_of("/optim/schedule/kind").on_resume, OnResume::reported);
  EXPECT_EQ(policy_of("/model/attention/sas/init").on_resume, OnResume::same);
  EXPECT_EQ(policy_of("/model/attention/mla/q_rank").on_resume, OnResume::same);
  EXPECT_EQ(policy_of("/data/shuffle").on_resume, OnResume::same);
  EXPECT_EQ(policy_of("/data/train/1").on_resume, OnResume::free);
}

TEST(Policy, RanksMayDifferInPathsAndMachinesOnly) {
  for (const char* alike :
       {"/model/n_layer", "/optim/lr", "/train/seed", "/eval/every_steps", "/data/shuffle",
        "/checkpoint/keep_last", "/runtime/matmul", "/runtime/zero_stage", "/runtime/gradient_sum"})
    EXPECT_EQ(policy_of(alike).across_ranks, AcrossRanks::same) << alike;
  for (const char* own : {"/data/train", "/data/train/0", "/data/tokenizer", "/runtime/device",
                          "/runtime/threads", "/runtime/recompute", "/runtime/comm_timeout_s"})
    EXPECT_EQ(policy_of(own).across_ranks, AcrossRanks::free) << own;
}

TEST(Policy, AnUnknownKeyHasItsBlocksAndAnUnknownBlockTheStrictest) {
  EXPECT_EQ(policy_of("/runtime/of_another_version").on_resume, OnResume::free);
  EXPECT_EQ(policy_of("/model/of_another_version").on_resume, OnResume::same);
  EXPECT_EQ(policy_of("/other/key").on_resume, OnResume::same);
  EXPECT_EQ(policy_of("/other/key").across_ranks, AcrossRanks::same);
  for (const char* none : {"", "optim", "/"}) EXPECT_EQ(policy_of(none).on_resume, OnResume::same) << none;
}

TEST(Policy, IsSaidInWordsOfEveryKeyThatHoldsAValue) {
  const auto said = [](const char* path) {
    const ConfigKey key = config_key(path).value();
    return key.on_resume + " | " + key.across_ranks;
  };
  EXPECT_EQ(said("model.n_layer"), "a change is refused | must agree");
  EXPECT_EQ(said("model.attention.sas.kernel_size"), "a change is refused | must agree");
  EXPECT_EQ(said("optim.betas"),
            "may change, with a warning; the run's numbers change from that step on | must agree");
  EXPECT_EQ(said("optim.schedule.kind"),
            "may change, with a warning; the run's numbers change from that step on | must agree");
  EXPECT_EQ(said("checkpoint.keep_last"), "may change | must agree");
  EXPECT_EQ(said("runtime.device"), "may change | may differ");
  EXPECT_EQ(said("data.train"), "may change | may differ");
  for (const std::string& path : config_keys()) {
    const ConfigKey key = config_key(path).value();
    EXPECT_EQ(key.on_resume.empty(), !key.children.empty()) << path;
    EXPECT_EQ(key.across_ranks.empty(), !key.children.empty()) << path;
  }
}

}  // namespace
}  // namespace saslm
