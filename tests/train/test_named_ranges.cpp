// What a profiler is told of a run: which names, that each is ended where it was begun, and that the CPU's
// own table has none.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "ops/named_range.h"
#include "tests/train/golden.h"
#include "tests/train/thread_ranks.h"

namespace saslm {
namespace {

// Of the thread that runs: ranks that are threads take turns, within a range too.
thread_local std::vector<std::string> open_ranges;
std::multiset<std::string> begun;     // by all
std::set<std::string> inside;         // "outer/inner"
std::set<std::string> ops_in_ranges;  // the range that products were called in

Ops<float> told_ops() {
  Ops<float> ops = cpu_ops<float>();
  ops.begin_range = [](const char* name) {
    if (!open_ranges.empty()) inside.insert(open_ranges.back() + "/" + name);
    open_ranges.push_back(name);
    begun.insert(name);
  };
  ops.end_range = [] {
    ASSERT_FALSE(open_ranges.empty()) << "ended more often than begun";
    open_ranges.pop_back();
  };
  ops.adamw = [](Stream stream, const AdamW<float>& a) {
    ASSERT_FALSE(open_ranges.empty());
    ops_in_ranges.insert("adamw in " + open_ranges.back());
    cpu_ops<float>().adamw(stream, a);
  };
  ops.cross_entropy = [](Stream stream, const CrossEntropy<float>& a) {
    ASSERT_FALSE(open_ranges.empty());
    ops_in_ranges.insert("cross_entropy in " + open_ranges.back());
    cpu_ops<float>().cross_entropy(stream, a);
  };
  ops.sas_bwd = [](Stream stream, const SasBwd<float>& a) {
    ASSERT_FALSE(open_ranges.empty());
    ops_in_ranges.insert("sas_bwd in " + open_ranges.back());
    cpu_ops<float>().sas_bwd(stream, a);
  };
  return ops;
}

TEST(NamedRanges, OfARunOfTwoRanksAreBalancedAndNested) {
  const test::OwnFolder folder;
  Config config = load_config(golden_folder("gqa_sas") / "config.json");
  config.train.micro_batch = 1, config.train.grad_accum = 2, config.train.global_batch = 4;
  config.train.ranks = 2;
  config.train.steps = 3;
  const Ops<float> ops = told_ops();
  begun.clear(), inside.clear(), ops_in_ranges.clear();
  ThreadRanks(2, ops).run([&](const Communicator& comm) {
    TrainObserver nobody;
    EXPECT_EQ(Trainer<float>(config, {.run_dir = folder / "run"}, ops, nobody, comm).run(),
              TrainEnd::finished);
    EXPECT_TRUE(open_ranges.empty()) << open_ranges.back() << " was not ended";
  });
  EXPECT_EQ(
      std::set<std::string>(begun.begin(), begun.end()),
      (std::set<std::string>{"attention", "attention backward", "sas", "sas backward", "mlp", "mlp backward",
                             "head", "optimizer", "all-reduce", "evaluation", "checkpoint"}));
  EXPECT_EQ(begun.count("optimizer"), 2u * 3);
  EXPECT_EQ(begun.count("attention backward"), 2u * 3 * 2 * size_t(config.model.n_layer));
  EXPECT_THAT(inside, testing::IsSupersetOf({"attention/sas", "attention backward/sas backward",
                                             "evaluation/attention", "evaluation/head"}));
  EXPECT_EQ(ops_in_ranges, (std::set<std::string>{"adamw in optimizer", "cross_entropy in head",
                                                  "sas_bwd in sas backward"}));
}

TEST(NamedRanges, AreNothingOnACpu) {
  EXPECT_EQ(cpu_ops<float>().begin_range, nullptr);
  EXPECT_EQ(cpu_ops<float>().end_range, nullptr);
  const NamedRange range(cpu_ops<float>(), "nothing");
}

TEST(NamedRanges, EndWhereAnErrorIsThrown) {
  const Ops<float> ops = told_ops();
  try {
    const NamedRange outer(ops, "outer");
    const NamedRange inner(ops, "inner");
    throw MachineError("an error");
  } catch (const MachineError&) {
  }
  EXPECT_TRUE(open_ranges.empty());
}

}  // namespace
}  // namespace saslm
