// Golden models (golden.h) trained by several ranks, on any backend: they must learn what one learns.
#pragma once
#include "tests/train/golden.h"
#include "tests/train/thread_ranks.h"

namespace saslm {

constexpr int64_t kMicroBatches = 8;  // of a step, of one sequence each, on all ranks together

inline Config shared_config(const std::string& name, int ranks) {
  Config config = load_config(std::filesystem::path(SASLM_GOLDEN_DIR) / name / "config.json");
  config.train.micro_batch = 1;
  config.train.grad_accum = kMicroBatches / ranks;
  config.train.global_batch = kMicroBatches;
  config.train.ranks = ranks;
  return config;
}

// Every loss and norm since the beginning, an evaluation, and what a checkpoint would hold.
struct Learned {
  std::vector<double> numbers;
  std::vector<float> masters, moment1, moment2;
  int64_t steps = 0;
  bool operator==(const Learned&) const = default;
};

template <class T>
void one_step(const Engine<T>& engine, const Config& c, int64_t step, std::vector<double>& numbers) {
  const TokenSet set(c.data.train, c.model.vocab_size, c.train.seq_len);
  const BatchLoader loader(set, c.data.shuffle, c.train.seed);
  std::vector<int32_t> inputs(size_t(c.train.seq_len)), targets(inputs.size());
  const TokenBatch batch{.B = 1, .T = c.train.seq_len, .inputs = inputs.data(), .targets = targets.data()};
  engine.begin_step();
  for (int64_t micro = 0; micro < c.train.grad_accum; ++micro) {
    const int64_t sample = step * kMicroBatches + engine.comm().rank() * c.train.grad_accum + micro;
    loader.load(uint64_t(sample), 1, inputs.data(), targets.data());
    engine.add_loss_and_grads(batch, 1.0 / double(kMicroBatches * c.train.seq_len));
  }
  const auto totals = engine.end_step();
  AdamWOptimizer<T>(engine, c.optim).update(c.optim.lr, totals.grad_norm, step + 1);
  numbers.insert(numbers.end(), {totals.loss, totals.aux_loss.value_or(0), totals.grad_norm});
  loader.load(0, 1, inputs.data(), targets.data());
  numbers.push_back(engine.loss(batch));
}

template <class T>
std::vector<float> fetched(const Engine<T>& engine, Region region) {
  std::vector<float> values;
  for (const NamedTensor& t : engine.fetch(region)) values.insert(values.end(), t.data.begin(), t.data.end());
  return values;
}
template <class T>
void restored(const Engine<T>& engine, Region region, const std::vector<float>& values) {
  auto at = values.begin();
  for (const NamedTensor& t : engine.room_for(region)) {
    std::copy_n(at, t.data.size(), t.data.begin());
    at += int64_t(t.data.size());
  }
  engine.store(region);
}

// `steps` more, from the seed or from where others left it. Buckets are of two blocks: a small model has
// some.
template <class T>
Learned learn(const std::string& name, const Ops<T>& ops, int ranks, Sharing sharing, int64_t steps,
              const Learned& from = {}) {
  sharing.bucket = 2 * Shares::kBlock;
  const Config c = shared_config(name, ranks);
  Learned first;
  std::vector<std::vector<double>> numbers{size_t(ranks)};
  std::vector<std::vector<T>> weights{size_t(ranks)};
  const auto work = [&](const Communicator& comm) {
    const Engine<T> engine(c.model, training_shape(c), Mode::train, ops, comm, sharing);
    const size_t rank = size_t(comm.rank());
    if (from.steps == 0) {
      engine.initialise(c.train.seed);
    } else {
      restored(engine, Region::masters, from.masters);
      restored(engine, Region::moment1, from.moment1), restored(engine, Region::moment2, from.moment2);
    }
    numbers[rank] = from.numbers;
    for (int64_t step = from.steps; step < from.steps + steps; ++step)
      one_step(engine, c, step, numbers[rank]);
    const Vec<T> all = engine.arena().template whole<T>(Region::parameters);
    weights[rank].resize(size_t(all.size));
    ops.copy_out(engine.stream(), weights[rank].data(), all.data, size_t(all.size) * sizeof(T));
    Learned here{.masters = fetched(engine, Region::masters),
                 .moment1 = fetched(engine, Region::moment1),
                 .moment2 = fetched(engine, Region::moment2)};
    EXPECT_EQ(comm.first(), !here.moment1.empty());
    if (comm.first()) first = here;
  };
  if (ranks == 1)
    work(single_rank());
  else
    ThreadRanks(ranks, ops).run(work);
  for (size_t rank = 1; rank < size_t(ranks); ++rank) {
    EXPECT_EQ(numbers[rank], numbers[0]) << "rank " << rank;
    EXPECT_EQ(std::memcmp(weights[rank].data(), weights[0].data(), weights[0].size() * sizeof(T)), 0)
        << "the weights of rank " << rank;
  }
  first.numbers = numbers[0], first.steps = from.steps + steps;
  return first;
}

template <class T>
void expect_ranks_change_no_bit(const std::string& name, const Ops<T>& ops, std::initializer_list<int> counts,
                                int64_t steps) {
  const Learned alone = learn(name, ops, 1, {}, steps);
  ASSERT_LT(alone.numbers[size_t(4 * (steps - 1))], alone.numbers[0]) << "it must learn something";
  for (const int ranks : counts)
    for (const bool sharded : {false, true})
      EXPECT_TRUE(learn(name, ops, ranks, {.sharded = sharded}, steps) == alone)
          << name << " on " << ranks << (sharded ? " ranks, sharded" : " ranks");
}

}  // namespace saslm
