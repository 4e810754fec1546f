#include "train/time_steps.h"

#include <chrono>

#include "core/rng.h"
#include "train/engine.h"

namespace saslm {

template <class T>
std::vector<double> time_steps(const Config& config, const Ops<T>& ops, const TimeStepsOptions& options) {
  const TrainConfig& train = config.train;
  Engine<T> engine(config.model, training_shape(config), Mode::train, ops, options.comm,
                   sharing_of(config.runtime), config.optim);
  if (config.runtime.matmul == MatmulChoice::timed) ops.time_products(engine.stream(), "");
  engine.state().initialise(train.seed);
  std::vector<int32_t> tokens(size_t(train.micro_batch * train.seq_len + 1));

  std::vector<double> step_ms;
  double timed_ms = 0;
  const auto goes_on = [&](int64_t step) {
    const bool enough = step >= options.warmup + options.steps && timed_ms >= options.seconds * 1e3;
    struct Wishes {
      double enough, stop;
    };
    const Wishes mine{double(enough), double(options.stop && options.stop())};
    const std::vector<Wishes> all = gather_structs(options.comm, mine, "timing of steps");
    for (const Wishes& one : all)
      if (one.stop != 0) return false;
    return all[0].enough == 0;
  };
  for (int64_t step = 0; step == 0 || goes_on(step); ++step) {
    const auto begin = std::chrono::steady_clock::now();
    const auto totals = engine.compute_gradients([&](int64_t micro) {
      const uint64_t key = stream_key(uint64_t(step * train.grad_accum + micro), "bench tokens");
      for (size_t i = 0; i < tokens.size(); ++i)
        tokens[i] = int32_t(uniform(key, i) * double(config.model.vocab_size));
      return TokenBatch{.inputs = mat<const int32_t>(tokens.data(), train.micro_batch, train.seq_len),
                        .targets = mat<const int32_t>(tokens.data() + 1, train.micro_batch, train.seq_len)};
    });
    engine.update(config.optim.lr, totals.grad_norm, step + 1);
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
    if (step >= options.warmup) {
      step_ms.push_back(took.count());
      timed_ms += took.count();
    }
  }
  return step_ms;
}

template std::vector<double> time_steps(const Config&, const Ops<float>&, const TimeStepsOptions&);
template std::vector<double> time_steps(const Config&, const Ops<bf16>&, const TimeStepsOptions&);

}  // namespace saslm
