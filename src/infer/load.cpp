#include "infer/load.h"

#include "checkpoint/checkpoint.h"
#include "core/error.h"

namespace saslm {

template <class T>
std::unique_ptr<Engine<T>> load_for_inference(const SavedModel& model, const RunShape& run,
                                              const Ops<T>& ops) {
  auto engine = std::make_unique<Engine<T>>(model.config, run, Mode::infer, ops);
  const std::vector<NamedTensor> weights = engine->room_for(Region::masters);
  load_weights(model.path, weights);
  if (const std::string what = not_finite(weights); !what.empty())
    throw CheckpointError(model.path + "/model.safetensors: " + what +
                          ": the model is unusable; take an earlier checkpoint");
  engine->store(Region::masters);
  return engine;
}

template std::unique_ptr<Engine<float>> load_for_inference(const SavedModel&, const RunShape&,
                                                           const Ops<float>&);
template std::unique_ptr<Engine<bf16>> load_for_inference(const SavedModel&, const RunShape&,
                                                          const Ops<bf16>&);

}  // namespace saslm
