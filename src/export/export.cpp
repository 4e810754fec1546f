#include "export/export.h"

#include <nlohmann/json.hpp>

#include "core/file.h"
#include "export/folder.h"
#include "export/form.h"
#include "export/tokenizer_files.h"

namespace saslm {
namespace {

using nlohmann::ordered_json;

Form form_of(const ModelConfig& model, Weights weights) {
  if (auto form = llama_form(model, weights)) return std::move(*form);
  if (auto form = gpt2_form(model, weights)) return std::move(*form);
  return own_form(model, weights);
}

void add_texts(Form& form, const TokenizerFiles& tokenizer, TensorType type) {
  const ordered_json end = tokenizer.end_of_text ? ordered_json(*tokenizer.end_of_text) : ordered_json();
  ordered_json config = {{"architectures", {form.architecture}}}, generation = ordered_json::object();
  config.update(form.config);
  config["torch_dtype"] = type == TensorType::bf16 ? "bfloat16" : "float32";
  // Without it, a pipeline assumes that a model of an unknown class has no tokenizer.
  if (!tokenizer.loaded_by.empty()) config["tokenizer_class"] = tokenizer.loaded_by;
  for (ordered_json* part :
       {&config, &generation}) {  // also as null: otherwise transformers uses its defaults
    (*part)["bos_token_id"] = end;
    (*part)["eos_token_id"] = end;
  }
  // Batches are padded with end of text, which the mask hides. This is not set in config.json: the Llama
  // class would give that embedding row no gradient.
  config["pad_token_id"] = nullptr;
  generation["pad_token_id"] = end;
  form.files["config.json"] = config.dump(2) + "\n";
  form.files["generation_config.json"] = generation.dump(2) + "\n";
  form.files.insert(tokenizer.files.begin(), tokenizer.files.end());
}

}  // namespace

ExportResult export_model(const ExportRequest& request) {
  const std::string out = absolute_folder(request.out);
  check_new_folder(out);
  const TokenizerFiles tokenizer =
      request.tokenizer.empty() ? TokenizerFiles{} : tokenizer_files(request.tokenizer, request.model);
  Form form = form_of(request.model, request.weights);
  add_texts(form, tokenizer, request.type);

  ExportResult result{.out = out, .architecture = form.architecture, .notes = {form.note}};
  result.notes.insert(result.notes.end(), tokenizer.notes.begin(), tokenizer.notes.end());
  result.warnings = tokenizer.warnings;
  result.tensors = int64_t(form.tensors.size());
  for (const ConstNamedTensor& tensor : request.weights) result.parameters += int64_t(tensor.data.size());
  result.files = write_folder(out, [&](const std::string& folder) {
    SafetensorsWriter(folder + "/model.safetensors", form.tensors, {{"format", "pt"}}, request.type).write();
    for (const auto& [name, text] : form.files) atomic_write_file(folder + "/" + name, text);
  });
  return result;
}

}  // namespace saslm
