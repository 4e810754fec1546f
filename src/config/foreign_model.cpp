#include "config/foreign_model.h"

#include <cctype>
#include <filesystem>
#include <fstream>

#include "core/error.h"

namespace saslm {

namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxConfigBytes = size_t(1) << 20;

// The beginning of a regular file; "" when there is none.
std::string beginning_of(const fs::path& path, size_t bytes) {
  std::error_code unknown;
  if (!fs::is_regular_file(path, unknown)) return "";
  std::string text(bytes, '\0');
  std::ifstream in(path, std::ios::binary);
  in.read(text.data(), std::streamsize(bytes));
  text.resize(size_t(in.gcount()));
  return text;
}

bool is_there(const fs::path& path) {
  std::error_code unknown;
  return fs::exists(path, unknown);
}

std::string model_in(const fs::path& folder) {
  if (is_there(folder / "manifest.json") || is_there(folder / "checkpoints")) return "";
  const auto config =
      nlohmann::json::parse(beginning_of(folder / "config.json", kMaxConfigBytes), nullptr, false);
  if (const std::string what = hugging_face_model(config); !what.empty()) return what;
  if (is_there(folder / "adapter_config.json")) return "an adapter (LoRA) of a Hugging Face model";
  if (!is_there(folder / "config.json"))
    for (const char* name :
         {"model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"})
      if (is_there(folder / name)) return "a Hugging Face model without its config.json";
  return "";
}

}  // namespace

std::string hugging_face_model(const nlohmann::json& config) {
  if (!config.is_object() || config.contains("model") || config.contains("base")) return "";
  const auto classes = config.find("architectures");
  const bool named =
      classes != config.end() && classes->is_array() && !classes->empty() && (*classes)[0].is_string();
  const auto is_text = [&](const char* key) { return config.contains(key) && config[key].is_string(); };
  if (!named && !is_text("model_type") && !is_text("transformers_version")) return "";
  std::string name = "without a name";
  if (is_text("model_type")) name = config["model_type"].get<std::string>();
  if (named) name = (*classes)[0].get<std::string>();
  for (char& c : name)  // a terminal should not obey it
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '_' && c != '-' && c != ' ') c = '?';
  return "a Hugging Face model (" + name.substr(0, 60) + ")";
}

std::string foreign_model_at(const std::string& path) {
  std::error_code unknown;
  if (fs::is_directory(path, unknown)) return model_in(path);
  const std::string head = beginning_of(path, 4);
  const fs::path folder = fs::path(path).parent_path().empty() ? "." : fs::path(path).parent_path();
  const std::string name = fs::path(path).filename().string();
  if (head.empty()) return "";
  if (name == "config.json" || name.ends_with(".safetensors") || name.starts_with("pytorch_model"))
    if (const std::string what = model_in(folder); !what.empty()) return "a file of " + what;
  const bool zip = head == std::string("PK\3\4", 4), pickle = head.starts_with("\x80\2\x8a");
  if (zip || pickle) return "a PyTorch file or another archive";
  return "";
}

void refuse_foreign_model(const std::string& path) {
  const std::string what = foreign_model_at(path);
  if (!what.empty())
    throw CheckpointError(path + ": this is " + what + ", not a checkpoint of saslm; " + how_to_import());
}

std::string how_to_import() {
  return "`saslm import --from FOLDER --out OUT` converts a Llama or GPT-2 model";
}

}  // namespace saslm
