#include "export/export.h"

#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"
#include "export/form.h"
#include "export/tokenizer_files.h"

namespace saslm {
namespace {

namespace fs = std::filesystem;
using json = nlohmann::ordered_json;

Form form_of(const ModelConfig& model, Weights weights) {
  if (auto form = llama_form(model, weights)) return std::move(*form);
  if (auto form = gpt2_form(model, weights)) return std::move(*form);
  return own_form(model, weights);
}

// Links followed, nothing after the last name: what a rename can put in place.
std::string absolute(const std::string& path) {
  std::error_code unknown;
  const fs::path whole = fs::weakly_canonical(fs::absolute(path), unknown);
  if (unknown) throw ConfigError(path + ": cannot be made into a folder: " + unknown.message());
  return (whole.has_filename() ? whole : whole.parent_path()).string();
}

void add_texts(Form& form, const TokenizerFiles& tokenizer, TensorType type) {
  const json end = tokenizer.end_of_text ? json(*tokenizer.end_of_text) : json();
  json config = {{"architectures", {form.architecture}}}, generation = json::object();
  config.update(form.config);
  config["torch_dtype"] = type == TensorType::bf16 ? "bfloat16" : "float32";
  // Without it a pipeline takes a class of a model that it does not know for one without a tokenizer.
  if (!tokenizer.loaded_by.empty()) config["tokenizer_class"] = tokenizer.loaded_by;
  for (json* part : {&config, &generation}) {  // as null, too: else transformers has tokens of its own
    (*part)["bos_token_id"] = end;
    (*part)["eos_token_id"] = end;
    (*part)["pad_token_id"] = nullptr;
  }
  form.files["config.json"] = config.dump(2) + "\n";
  form.files["generation_config.json"] = generation.dump(2) + "\n";
  form.files.insert(tokenizer.files.begin(), tokenizer.files.end());
}

}  // namespace

void check_export_folder(const std::string& out) {
  if (!path_exists(out)) return;
  if (!fs::is_directory(out)) throw ConfigError(out + ": wanted a folder for the export, got a file");
  if (!list_dir(out).empty())
    throw ConfigError(out +
                      ": wanted a folder that does not exist yet or is empty, got one with files in "
                      "it; name another, or remove it");
}

ExportResult export_model(const ExportRequest& request) {
  const std::string out = absolute(request.out), parent = fs::path(out).parent_path().string();
  check_export_folder(out);
  const TokenizerFiles tokenizer = tokenizer_files(request.tokenizer, request.model);
  Form form = form_of(request.model, request.weights);
  add_texts(form, tokenizer, request.type);

  ExportResult result{.out = out, .architecture = form.architecture, .notes = {form.note}};
  result.notes.insert(result.notes.end(), tokenizer.notes.begin(), tokenizer.notes.end());
  result.tensors = int64_t(form.tensors.size());
  for (const ConstNamedTensor& tensor : request.weights) result.parameters += int64_t(tensor.data.size());

  TempDir temp(out + ".tmp_" + std::to_string(::getpid()));
  SafetensorsWriter(temp.path() + "/model.safetensors", form.tensors, {{"format", "pt"}}, request.type)
      .write();
  for (const auto& [name, text] : form.files) atomic_write_file(temp.path() + "/" + name, text);
  fsync_dir(temp.path());
  result.files = list_dir(temp.path());
  rename_path(temp.path(), out);  // over an empty folder, too
  temp.keep();
  fsync_dir(parent);
  return result;
}

}  // namespace saslm
