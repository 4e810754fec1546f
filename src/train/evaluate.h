// Loss over a token set, in file order.
#pragma once
#include <functional>
#include <optional>

#include "data/token_set.h"
#include "train/engine.h"

namespace saslm {

struct EvalResult {
  double loss = 0;  // nats per target, mean over all targets
  int64_t sequences = 0, tokens = 0;
};

// The first max_sequences samples (0 = all), `batch` at a time, dealt to the engine's ranks; losses are added
// up in the order of the batches. `stop` is asked before every round of batches, by all ranks together; when
// it says yes, nothing is returned.
template <class T>
std::optional<EvalResult> evaluate(const Engine<T>& engine, const TokenSet& set, int64_t max_sequences,
                                   int64_t batch, const std::function<bool()>& stop = {});

}  // namespace saslm
