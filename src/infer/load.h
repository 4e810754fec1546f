// Loads a saved model for inference.
#pragma once
#include <memory>

#include "train/engine.h"
#include "train/saved_model.h"

namespace saslm {

// An inference engine with the model's weights, for the shape `run`. CheckpointError if a weight is not
// finite, or the file does not fit the model.
template <class T>
std::unique_ptr<Engine<T>> load_for_inference(const SavedModel& model, const RunShape& run,
                                              const Ops<T>& ops);

}  // namespace saslm
