#include "train/saved_model.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "checkpoint/checkpoint.h"
#include "checkpoint/manifest.h"
#include "config/foreign_model.h"
#include "core/error.h"
#include "core/file.h"
#include "train/run_state.h"

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

// What a checkpoint says of its tokenizer, and has of it. Its bytes are verified when the weights are loaded.
void find_tokenizer(SavedModel& model) {
  const std::string manifest_path = model.path + "/" + kManifestFile;
  if (!path_exists(manifest_path) || !path_exists(model.path + "/" + kStateFile)) return;
  const TokenizerIdentity own =
      run_state_from_json(read_file(model.path + "/" + kStateFile), model.path).tokenizer;
  if (own.name.empty()) return;  // a checkpoint from before this was kept
  model.tokenizer = model.tokenizer_name = own.name;
  model.tokenizer_fingerprint = own.fingerprint;
  const Manifest manifest = parse_manifest(read_file(manifest_path), manifest_path);
  if (manifest.files.size() > kConfig + 1) model.tokenizer = tokenizer_name(model.path);
}

// Of a model from before fingerprints were kept: the file that it names, as it is now; nothing where that is
// gone.
TokenizerOf identity_of(const SavedModel& model) {
  const TokenizerOf own{model.path, model.tokenizer_name, model.tokenizer_fingerprint};
  if (!own.fingerprint.empty() || own.name.empty() || own.name == "bytes") return own;
  if (!tokenizer_exists(own.name)) return {model.path, "", ""};
  const TokenizerCopy now = copy_tokenizer(own.name);
  return {model.path, now.name, now.fingerprint};
}

}  // namespace

SavedModel find_saved_model(const std::string& path) {
  refuse_foreign_model(path);
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
  if (tokenizer.is_string()) model.tokenizer = model.tokenizer_name = tokenizer;
  // A folder that `import` made has its tokenizer beside the weights, wherever it is moved.
  if (const auto own = at("/data/tokenizer_fingerprint"_json_pointer);
      tokenizer.is_string() && own.is_string()) {
    model.tokenizer_fingerprint = own;
    const std::string beside =
        model.path + "/" + std::filesystem::path(model.tokenizer_name).filename().string();
    if (model.tokenizer_name != "bytes" && path_exists(beside)) model.tokenizer = beside;
  }
  find_tokenizer(model);
  return model;
}

TokenizerCopy tokenizer_for(const SavedModel& model, const std::string& given,
                            std::vector<std::string>& notes) {
  const std::string name = given.empty() ? model.tokenizer : given;
  if (name.empty())
    throw ConfigError(model.path +
                      ": it is not known which tokenizer this model was trained with; "
                      "name it with --tokenizer FILE (or --tokenizer bytes)");
  if (given.empty() && !tokenizer_exists(name))
    throw ConfigError(model.path + ": the model was trained with the tokenizer " + name +
                      ", which is not there (any more); name its present place with --tokenizer FILE");
  TokenizerCopy copy = copy_tokenizer(name);
  const TokenizerOf of_model = identity_of(model);
  const TokenizerOf taken{given.empty() ? name + " now" : "--tokenizer " + given, copy.name,
                          copy.fingerprint};
  if (!given.empty() || !model.tokenizer_fingerprint.empty()) {
    const std::string note = require_same_tokenizer(
        of_model, taken,
        given.empty() ? "put back the file that it was, or name its present place with --tokenizer FILE"
                      : "leave --tokenizer out, or name the model's own");
    if (!note.empty()) notes.push_back(note);
  }
  if (model.tokenizer_fingerprint.empty() && name != "bytes" && of_model.name == copy.name)
    notes.push_back(name +
                    " is taken for the model's tokenizer by its name alone: whether it is the file that " +
                    model.path + " was trained with is not on record");
  return copy;
}

std::string check_data_of(const SavedModel& model, const TokenSet& data) {
  const std::string advice = "tokenize the text with the model's own tokenizer" +
                             (model.tokenizer.empty() ? "" : ", --tokenizer " + model.tokenizer);
  const TokenizerOf own = identity_of(model);
  if (data.tokenizer().empty() && !data.tokenizer_of_some().empty())
    require_same_tokenizer(own, {"a part of the data", data.tokenizer_of_some(), data.fingerprint_of_some()},
                           advice);
  return require_same_tokenizer(own, {"the data", data.tokenizer(), data.tokenizer_fingerprint()}, advice);
}

}  // namespace saslm
