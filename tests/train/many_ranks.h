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

// Every loss and norm since the beginning, an evaluation, and what a checkpoint would hold, by name.
struct Learned {
  std::vector<double> numbers;
  std::map<std::string, std::vector<float>> weights, optimizer;
  int64_t steps = 0;
  bool operator==(const Learned&) const = default;
};

template <class T>
void one_step(Engine<T>& engine, const Config& c, int64_t step, std::vector<double>& numbers) {
  const TokenSet set(c.data.train, c.model.vocab_size, c.train.seq_len);
  const BatchLoader loader(set, c.data.shuffle, c.train.seed);
  TokenBuffer tokens(1, c.train.seq_len);
  const auto totals = engine.compute_gradients([&](int64_t micro) {
    const int64_t sample = step * kMicroBatches + engine.comm().rank() * c.train.grad_accum + micro;
    loader.load(uint64_t(sample), tokens);
    return tokens.batch();
  });
  engine.update(c.optim.lr, totals.grad_norm, step + 1);
  numbers.insert(numbers.end(), {totals.loss, totals.aux_loss.value_or(0), totals.grad_norm});
  loader.load(0, tokens);
  numbers.push_back(engine.loss(tokens.batch()));
}

inline std::map<std::string, std::vector<float>> copied(const std::vector<ConstNamedTensor>& tensors) {
  std::map<std::string, std::vector<float>> values;
  for (const ConstNamedTensor& t : tensors) values[t.name] = {t.data.begin(), t.data.end()};
  return values;
}
template <class T>
void restore(ModelState<T>& state, const Learned& from) {
  const StateTensors names = state.names();
  ASSERT_EQ(names.weights.size() + names.optimizer.size(), from.weights.size() + from.optimizer.size());
  for (const ConstNamedTensor& t : names.weights) state.store({t.name, t.shape, from.weights.at(t.name)});
  for (const ConstNamedTensor& t : names.optimizer) state.store({t.name, t.shape, from.optimizer.at(t.name)});
}

// `steps` more, from the seed or from where others left it; with an mlp of `hidden` features where that is
// given. Buckets are of two blocks: a small model has some.
template <class T>
Learned learn(const std::string& name, const Ops<T>& ops, int ranks, Sharing sharing, int64_t steps,
              const Learned& from = {}, const OptimizerMaker<T>& optimizer = make_optimizer<T>,
              int64_t hidden = 0) {
  sharing.bucket = 2 * Shares::kBlock;
  Config c = shared_config(name, ranks);
  if (hidden > 0) c.model.mlp.hidden = hidden;
  Learned first;
  std::vector<std::vector<double>> numbers{size_t(ranks)};
  std::vector<std::vector<T>> weights{size_t(ranks)};
  const auto work = [&](const Communicator& comm) {
    Engine<T> engine(c.model, training_shape(c), Mode::train, ops, comm, sharing, c.optim, optimizer);
    const size_t rank = size_t(comm.rank());
    if (from.steps == 0)
      engine.state().initialise(c.train.seed);
    else
      restore(engine.state(), from);
    numbers[rank] = from.numbers;
    for (int64_t step = from.steps; step < from.steps + steps; ++step)
      one_step(engine, c, step, numbers[rank]);
    const Vec<T> all = engine.arena().template whole<T>(Region::parameters);
    weights[rank].resize(size_t(all.size));
    ops.copy_out(engine.stream(), weights[rank].data(), all.data, size_t(all.size) * sizeof(T));
    const StateTensors state = engine.state().fetch();
    EXPECT_EQ(comm.first(), !state.optimizer.empty());
    if (comm.first()) first = {.weights = copied(state.weights), .optimizer = copied(state.optimizer)};
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
                                int64_t steps, const OptimizerMaker<T>& optimizer = make_optimizer<T>,
                                int64_t hidden = 0) {
  const Learned alone = learn(name, ops, 1, {}, steps, {}, optimizer, hidden);
  ASSERT_LT(alone.numbers[size_t(4 * (steps - 1))], alone.numbers[0]) << "it must learn something";
  for (const int ranks : counts)
    for (const bool sharded : {false, true})
      EXPECT_TRUE(learn(name, ops, ranks, {.sharded = sharded}, steps, {}, optimizer, hidden) == alone)
          << name << " on " << ranks << (sharded ? " ranks, sharded" : " ranks");
}

}  // namespace saslm
