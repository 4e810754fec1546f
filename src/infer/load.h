// A saved model's weights in memory, to compute with and not to train.
#pragma once
#include <memory>

#include "train/engine.h"
#include "train/saved_model.h"

namespace saslm {

// An engine for inference with the model's weights, at the shape of `run`. CheckpointError when one of them
// is not finite, or the file does not fit the model.
template <class T>
std::unique_ptr<Engine<T>> load_for_inference(const SavedModel& model, const RunShape& run,
                                              const Ops<T>& ops);

}  // namespace saslm
