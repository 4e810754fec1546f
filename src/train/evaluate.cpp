#include "train/evaluate.h"

#include <algorithm>

namespace saslm {

template <class T>
std::optional<EvalResult> evaluate(const Engine<T>& engine, const TokenSet& set, int64_t max_sequences,
                                   int64_t batch, const std::function<bool()>& stop) {
  const int64_t T_ = set.seq_len();
  const int64_t total = max_sequences > 0 ? std::min(max_sequences, set.n_samples()) : set.n_samples();
  std::vector<int32_t> inputs(size_t(batch * T_)), targets(inputs.size());
  const Communicator& comm = engine.comm();
  double sum = 0;
  for (int64_t round = 0; round < total; round += batch * comm.size()) {  // a batch for every rank
    if (stop && stop()) return {};
    const int64_t first = round + batch * comm.rank(), B = std::clamp<int64_t>(total - first, 0, batch);
    for (int64_t b = 0; b < B; ++b) set.read(first + b, inputs.data() + b * T_, targets.data() + b * T_);
    const double loss =
        B > 0 ? engine.loss({.B = B, .T = T_, .inputs = inputs.data(), .targets = targets.data()}) : 0;
    for (const double of_rank : gather_numbers(comm, {loss}, "evaluation")) sum += of_rank;
  }
  return EvalResult{sum / double(total * T_), total, total * T_};
}

template std::optional<EvalResult> evaluate(const Engine<float>&, const TokenSet&, int64_t, int64_t,
                                            const std::function<bool()>&);
template std::optional<EvalResult> evaluate(const Engine<bf16>&, const TokenSet&, int64_t, int64_t,
                                            const std::function<bool()>&);

}  // namespace saslm
