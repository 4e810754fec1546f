#include "train/saved_model.h"

#include <nlohmann/json.hpp>

#include "checkpoint/checkpoint.h"
#include "core/error.h"
#include "core/file.h"

namespace saslm {
namespace {

// The folder itself, or the newest valid checkpoint of a run.
std::string model_folder(const std::string& path, std::vector<std::string>& skipped) {
  if (path_exists(path + "/model.safetensors")) return path;
  const std::string checkpoints = path_exists(path + "/checkpoints") ? path + "/checkpoints" : path;
  const auto note = [&](const std::string& where, const std::string& why) {
    skipped.push_back(where + ": " + why);
  };
  if (const auto newest = find_newest_valid(checkpoints, note)) return newest->path();
  std::string damaged;
  for (const std::string& line : skipped) damaged += "; damaged: " + line;
  throw CheckpointError(path +
                        ": no model here: wanted a checkpoint, a run directory, or a folder with "
                        "model.safetensors and config.json" +
                        damaged);
}

}  // namespace

SavedModel find_saved_model(const std::string& path) {
  SavedModel model;
  model.path = model_folder(path, model.skipped);
  const std::string config_path = model.path + "/config.json";
  model.config = load_model_config(config_path);
  model.seq_len = model.config.max_seq_len;
  // load_model_config has parsed this text; beyond the model block only these two words matter, if they are
  // there.
  const auto whole = nlohmann::json::parse(read_file(config_path), nullptr, false);
  // value() would throw where a list is on the way.
  const auto at = [&](const nlohmann::json::json_pointer& key) {
    return whole.contains(key) ? whole[key] : nlohmann::json();
  };
  const auto seq_len = at("/train/seq_len"_json_pointer), tokenizer = at("/data/tokenizer"_json_pointer);
  if (seq_len.is_number_integer() && seq_len > 0 && seq_len <= model.seq_len) model.seq_len = seq_len;
  if (tokenizer.is_string()) model.tokenizer = tokenizer;
  return model;
}

template <class T>
std::unique_ptr<Engine<T>> load_for_inference(const SavedModel& model, const RunShape& run,
                                              const Ops<T>& ops) {
  auto engine = std::make_unique<Engine<T>>(model.config, run, Mode::infer, ops);
  const std::vector<NamedTensor> weights = engine->room_for(Region::masters);
  load_weights(model.path, weights);
  if (const std::string what = not_finite(weights); !what.empty())
    throw CheckpointError(model.path + "/model.safetensors: " + what +
                          ": a model that computes nothing; take an earlier checkpoint");
  engine->store(Region::masters);
  return engine;
}

template std::unique_ptr<Engine<float>> load_for_inference(const SavedModel&, const RunShape&,
                                                           const Ops<float>&);
template std::unique_ptr<Engine<bf16>> load_for_inference(const SavedModel&, const RunShape&,
                                                          const Ops<bf16>&);

}  // namespace saslm
