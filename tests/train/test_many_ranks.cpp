// Several ranks, with and without shares of the optimizer's state: the same bits, in less memory.
#include <map>
#include <sstream>

#include "core/error.h"
#include "own_folder.h"
#include "tests/train/many_ranks.h"
#include "train/trainer.h"

namespace saslm {
namespace {

TEST(ManyRanks, LearnTheBitsOfOneShardedOrNot) {
  expect_ranks_change_no_bit("sas_k5", cpu_ops<float>(), {2, 4, 8}, 3);
  expect_ranks_change_no_bit("mha_learned", cpu_ops<float>(), {2, 4}, 3);
  expect_ranks_change_no_bit("moh", cpu_ops<float>(), {2}, 3);
  expect_ranks_change_no_bit("mhe_mul", cpu_ops<float>(), {4}, 3);  // its head is not tied
}

TEST(ManyRanks, GoOnFromWhatAnyOthersHandedOver) {
  const Ops<float>& ops = cpu_ops<float>();
  const Learned alone = learn("sas_k5", ops, 1, {}, 4);
  Learned state;
  for (const auto& [ranks, sharded] : {std::pair{4, false}, {2, true}, {1, false}, {8, true}})
    state = learn("sas_k5", ops, ranks, {.sharded = sharded}, 1, state);
  EXPECT_TRUE(state == alone);
}

TEST(ManyRanks, ByTheLibrarysSumLearnNearlyTheSameShardedOrNot) {
  const Ops<float>& ops = cpu_ops<float>();
  const Learned alone = learn("sas_k5", ops, 1, {}, 3);
  const Learned by_library = learn("sas_k5", ops, 4, {.sum = RankSum::library}, 3);
  ASSERT_EQ(by_library.numbers.size(), alone.numbers.size());
  for (size_t i = 0; i < alone.numbers.size(); ++i)
    EXPECT_NEAR(by_library.numbers[i], alone.numbers[i], 1e-4 * std::abs(alone.numbers[i]));
  EXPECT_FALSE(by_library == alone) << "another order of sums";
  EXPECT_TRUE(learn("sas_k5", ops, 4, {.sharded = true, .sum = RankSum::library}, 3) == by_library);
}

class Bare : public Communicator {  // its room has no library
 public:
  Bare() : Communicator(0, 2) {}
  void exchange(Stream, std::span<const Exchange>, const char*) const override {}
  void gather(std::span<const std::byte>, std::span<std::byte>, const char*) const override {}
};

TEST(ManyRanks, WithoutALibraryThatSumsAreToldSoBeforeTheFirstStep) {
  const Config c = shared_config("sas_k5", 2);
  const auto engine = [&](RankSum sum) {
    Engine<float>(c.model, training_shape(c), Mode::train, cpu_ops<float>(), Bare(), {.sum = sum});
  };
  EXPECT_NO_THROW(engine(RankSum::fixed));
  EXPECT_THROW(engine(RankSum::library), ConfigError);
}

TEST(ManyRanks, KeepTheirSharesOfTheStateAndNoMore) {
  for (const int ranks : {2, 4, 8}) {
    Config c = shared_config("gqa_sas", ranks);
    c.model.mlp.hidden = 4096;
    const auto bytes = [&](auto type, int64_t zero_stage, Region region) {
      c.runtime.zero_stage = zero_stage;
      for (const auto& [name, size] : make_plan<decltype(type)>(c).bytes_by_region)
        if (name == name_of(region)) return size;
      return int64_t(0);
    };
    const Region state = Region::optimizer;
    EXPECT_LE(bytes(0.0f, 1, state), bytes(0.0f, 0, state) / ranks + 2 * Shares::kBlock * 4);
    EXPECT_GE(bytes(0.0f, 1, state), bytes(0.0f, 0, state) / ranks);
    EXPECT_LE(bytes(bf16(), 1, Region::masters),
              bytes(bf16(), 0, Region::masters) / ranks + Shares::kBlock * 4);
    EXPECT_EQ(bytes(bf16(), 1, Region::parameters), bytes(bf16(), 0, Region::parameters));
    EXPECT_EQ(bytes(bf16(), 1, Region::gradients), bytes(bf16(), 0, Region::gradients));
  }
}

// Whoever saves alone gets what the others keep, once.
TEST(ManyRanks, SendTheirSharesToTheFirstAlone) {
  constexpr int kRanks = 4;
  const Config c = shared_config("gqa_sas", kRanks);
  const Sharing sharing{.sharded = true, .bucket = 2 * Shares::kBlock};
  ThreadRanks ranks(kRanks, cpu_ops<float>());
  int64_t elements = 0, buckets = 0;
  ranks.run([&](const Communicator& comm) {
    Engine<float> engine(c.model, training_shape(c), Mode::train, cpu_ops<float>(), comm, sharing);
    elements = engine.layout().param_elements();
    buckets = ceil_div(elements, sharing.bucket);
    EXPECT_EQ(engine.state().fetch().optimizer.empty(), !comm.first());
  });
  EXPECT_GE(ranks.sent_bytes, 2 * elements * 4 / 2) << "of two blocks a bucket, the first rank has one";
  EXPECT_LE(ranks.sent_bytes, 2 * (kRanks - 1) * buckets * Shares::kBlock * 4);
}

// Products as a rank times them: every rank chooses otherwise, and rank 1 computes one that no other does.
namespace timed {
thread_local int rank = 0;
thread_local std::map<std::string, std::string> chosen;

std::string text() {
  std::string all;
  for (const auto& [product, by] : chosen) all += product + " " + by + "\n";
  return all;
}
Ops<float> ops() {
  Ops<float> ops = cpu_ops<float>();
  ops.time_products = [](Stream, const std::string& table) {
    std::istringstream words(table);
    for (std::string product, by; words >> product >> by;) chosen[product] = by;
    return true;
  };
  ops.product_table = [](Stream) { return text(); };
  ops.block_squares = [](Stream stream, const BlockSquares<float>& a) {  // once a step
    chosen.try_emplace("everywhere", "rank" + std::to_string(rank));
    if (rank == 1) chosen.try_emplace("on_one", "rank1");
    cpu_ops<float>().block_squares(stream, a);
  };
  return ops;
}
}  // namespace timed

TEST(ManyRanks, GoOnWithTheProductsThatTheFirstHasTimed) {
  const test::OwnFolder folder;
  Config c = shared_config("sas_k5", 2);
  c.runtime.matmul = MatmulChoice::timed;
  c.train.steps = 2;
  std::vector<std::string> tables(2);
  const Ops<float> ops = timed::ops();
  ThreadRanks(2, ops).run([&](const Communicator& comm) {
    timed::rank = comm.rank();
    timed::chosen.clear();
    TrainObserver nobody;
    Trainer<float> trainer(c, {.run_dir = folder / "run"}, ops, nobody, comm);
    trainer.run();
    tables[size_t(comm.rank())] = timed::text();
    EXPECT_TRUE(!comm.first() || trainer.state().product_table == tables[0]);
  });
  EXPECT_EQ(tables, std::vector<std::string>(2, "everywhere rank0\non_one rank1\n"));
}

TEST(ManyRanks, HaveTheBlockThatWasPlanned) {
  for (const int64_t zero_stage : {0, 1}) {
    Config c = shared_config("sas_k5", 4);
    c.runtime.zero_stage = zero_stage;
    ThreadRanks(4, cpu_ops<float>()).run([&](const Communicator& comm) {
      const Engine<float> engine(c.model, training_shape(c), Mode::train, cpu_ops<float>(), comm,
                                 sharing_of(c.runtime));
      EXPECT_EQ(engine.arena().bytes(), make_plan<float>(c, comm.first()).arena_bytes);
    });
  }
}

}  // namespace
}  // namespace saslm
