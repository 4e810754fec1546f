// Several ranks, with and without shards of the optimizer's state: the same bits, in less memory, and sums
// that begin before backward ends.
#include "core/error.h"
#include "tests/train/many_ranks.h"

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
  void exchange(Stream, int, Vec<const float>, Vec<float>, const char*) const override {}
  void gather(std::span<const std::byte>, std::span<std::byte>, const char*) const override {}
};

TEST(ManyRanks, WithoutALibraryThatSumsAreToldSoBeforeTheFirstStep) {
  const Config c = shared_config("sas_k5", 2);
  const auto engine = [&](RankSum sum) {
    return Engine<float>(c.model, training_shape(c), Mode::train, cpu_ops<float>(), Bare(), {.sum = sum});
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
    for (const Region region : {Region::moment1, Region::moment2}) {
      EXPECT_LE(bytes(0.0f, 1, region), bytes(0.0f, 0, region) / ranks + Shares::kBlock * 4);
      EXPECT_GE(bytes(0.0f, 1, region), bytes(0.0f, 0, region) / ranks);
    }
    EXPECT_LE(bytes(bf16(), 1, Region::masters),
              bytes(bf16(), 0, Region::masters) / ranks + Shares::kBlock * 4);
    EXPECT_EQ(bytes(bf16(), 1, Region::parameters), bytes(bf16(), 0, Region::parameters));
    EXPECT_EQ(bytes(bf16(), 1, Region::gradients), bytes(bf16(), 0, Region::gradients));
  }
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

// ---- Sums while backward goes on

thread_local std::vector<std::string>* diary = nullptr;  // rank 0's

// The backend's, with an entry at the last thing that backward does.
Ops<float> ops_with_diary() {
  Ops<float> ops = cpu_ops<float>();
  ops.embedding_bwd = [](Stream stream, const EmbeddingBwd<float>& a) {
    if (diary != nullptr) diary->push_back("end of backward");
    cpu_ops<float>().embedding_bwd(stream, a);
  };
  return ops;
}

std::vector<std::string> diary_of_a_step(bool sharded) {
  const Ops<float> ops = ops_with_diary();
  const Config c = shared_config("sas_k5", 4);  // two micro-batches on each rank
  ThreadRanks ranks(4, ops);
  std::vector<std::string> entries;
  ranks.on_call = [&](int rank, const char* doing) {
    if (rank == 0) entries.push_back(doing);
  };
  ranks.run([&](const Communicator& comm) {
    const Engine<float> engine(c.model, training_shape(c), Mode::train, ops, comm,
                               {.sharded = sharded, .bucket = Shares::kBlock});
    engine.initialise(1);
    engine.begin_step();
    if (comm.first()) diary = &entries;
    const std::vector<int32_t> tokens(size_t(c.train.seq_len));
    for (int micro = 0; micro < 2; ++micro)
      engine.add_loss_and_grads(
          {.B = 1, .T = c.train.seq_len, .inputs = tokens.data(), .targets = tokens.data()}, 0.01);
    const double norm = engine.end_step().grad_norm;
    if (comm.first()) entries.push_back("update");
    AdamWOptimizer<float>(engine, c.optim).update(1e-3, norm, 1);
  });
  return entries;
}

int64_t count_of(const std::vector<std::string>& entries, const std::string& what, size_t from, size_t to) {
  return std::count(entries.begin() + int64_t(from), entries.begin() + int64_t(to), what);
}
size_t place_of(const std::vector<std::string>& entries, const std::string& what, size_t from = 0) {
  return size_t(std::find(entries.begin() + int64_t(from), entries.end(), what) - entries.begin());
}

TEST(ManyRanks, SumFinishedBucketsBeforeTheLastBackwardEndsAndNoneBeforeIt) {
  for (const bool sharded : {false, true}) {
    const std::vector<std::string> entries = diary_of_a_step(sharded);
    const size_t first = place_of(entries, "end of backward");
    const size_t last = place_of(entries, "end of backward", first + 1), update = place_of(entries, "update");
    ASSERT_LT(update, entries.size());
    EXPECT_EQ(first, 0u) << "the first micro-batch's gradients are not summed: " << entries[0];
    // Five blocks, each a bucket of two levels; the first has the embedding's, which are last.
    EXPECT_EQ(count_of(entries, "sum of gradients", first, last), 4 * 2);
    EXPECT_EQ(count_of(entries, "sum of gradients", last, update), 1 * 2 + 1) << "and the wait for them";
    EXPECT_EQ(count_of(entries, "spread of gradients", 0, entries.size()), sharded ? 0 : 5 * 2);
    // A step that is skipped makes no update: it spreads nothing.
    EXPECT_EQ(count_of(entries, "spread of weights", 0, update), 0);
    EXPECT_EQ(count_of(entries, "spread of weights", update, entries.size()), sharded ? 5 * 2 + 1 : 0);
  }
}

// What backward calls final it does not touch again; and it calls everything final, from the end on.
void finals_are_final(const std::string& name, Recompute recompute) {
  SCOPED_TRACE(name + std::string(" ") + name_of(recompute));
  Config c = load_config(std::filesystem::path(SASLM_GOLDEN_DIR) / name / "config.json");
  c.runtime.recompute = recompute;
  const Ops<float>& ops = cpu_ops<float>();
  const Engine<float> engine(c.model, training_shape(c), Mode::train, ops);
  engine.initialise(1);
  std::vector<int32_t> tokens(size_t(c.train.micro_batch * c.train.seq_len));
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = int32_t(i % 7);
  const Vec<float> g = engine.arena().gradients();
  std::vector<float> seen(size_t(g.size), std::nanf(""));
  int64_t begin = g.size;
  int told = 0;
  engine.model().add_loss_and_grads(
      engine.backend(),
      {.B = c.train.micro_batch, .T = c.train.seq_len, .inputs = tokens.data(), .targets = tokens.data()},
      0.01, [&](int64_t first, int64_t end) {
        EXPECT_EQ(end, begin);
        std::copy(g.data + first, g.data + end, seen.begin() + first);
        begin = first, ++told;
      });
  EXPECT_EQ(begin, 0);
  EXPECT_EQ(told, c.model.n_layer + 2);
  for (int64_t i = 0; i < g.size; ++i) ASSERT_EQ(seen[size_t(i)], g[i]) << "element " << i;
}

TEST(FinalGradients, AreNotTouchedAgain) {
  for (const std::string& name : golden_cases())
    for (const Recompute recompute : {Recompute::none, Recompute::sim, Recompute::block})
      finals_are_final(name, recompute);
}

}  // namespace
}  // namespace saslm
