// Loads files into an engine one tensor at a time, so that no rank holds the state twice.
#pragma once
#include <string>

#include "checkpoint/checkpoint.h"
#include "train/model_state.h"

namespace saslm {

// Loads weights and optimizer state of a checkpoint. Errors as load_checkpoint's.
template <class T>
void load_state(ModelState<T>& state, const Checkpoint& checkpoint) {
  const StateTensors names = state.names();
  load_checkpoint(checkpoint, names.weights, names.optimizer,
                  [&](const ConstNamedTensor& tensor) { state.store(tensor); });
}

// Loads only weights, as checkpoint/checkpoint.h's load_weights. Returns not_finite() of the first tensor
// with a number that is not finite, or "".
template <class T>
std::string load_weights(ModelState<T>& state, const std::string& path) {
  std::string first;
  load_weights(path, state.names().weights, [&](const ConstNamedTensor& tensor) {
    if (first.empty()) first = not_finite(tensor);
    state.store(tensor);
  });
  return first;
}

}  // namespace saslm
