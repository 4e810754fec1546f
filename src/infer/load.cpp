#include "infer/load.h"

#include "core/error.h"
#include "train/load_state.h"

namespace saslm {

template <class T>
std::unique_ptr<Engine<T>> load_for_inference(const SavedModel& model, const RunShape& run,
                                              const Ops<T>& ops) {
  auto engine = std::make_unique<Engine<T>>(model.config, run, Mode::infer, ops);
  if (const std::string what = load_weights(engine->state(), model.path); !what.empty())
    throw CheckpointError(model.path + "/model.safetensors: " + what +
                          ": the model is unusable; take an earlier checkpoint");
  return engine;
}

template std::unique_ptr<Engine<float>> load_for_inference(const SavedModel&, const RunShape&,
                                                           const Ops<float>&);
template std::unique_ptr<Engine<bf16>> load_for_inference(const SavedModel&, const RunShape&,
                                                          const Ops<bf16>&);

}  // namespace saslm
