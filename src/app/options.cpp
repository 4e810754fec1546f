#include "app/options.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <sstream>

namespace saslm {
namespace {

template <class Number>
bool parse_whole(const std::string& text, Number& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

CLI::Validator integer_in(int64_t min, int64_t max) {
  const auto check = [min, max](const std::string& text) {
    int64_t value = 0;
    if (parse_whole(text, value) && value >= min && value <= max) return std::string();
    return "wanted an integer from " + std::to_string(min) + " to " + std::to_string(max) + ", got " + text;
  };
  return CLI::Validator(check, "N");
}

CLI::Validator number_from(double min) {
  const auto check = [min](const std::string& text) {
    double value = 0;
    if (parse_whole(text, value) && std::isfinite(value) && value >= min) return std::string();
    std::ostringstream least;
    least << min;
    return "wanted a finite number of at least " + least.str() + ", got " + text;
  };
  return CLI::Validator(check, "NUMBER");
}

CLI::Validator folder() {
  const auto check = [](const std::string& path) {
    namespace fs = std::filesystem;
    if (path.empty()) return std::string("wanted a folder, got an empty string");
    for (fs::path at = fs::path(path).lexically_normal(); !at.empty(); at = at.parent_path()) {
      std::error_code unknown;
      const fs::file_status status = fs::status(at, unknown);
      if (fs::exists(status) && !fs::is_directory(status))
        return path + ": wanted a folder, but " + at.string() + " is a file";
      if (fs::exists(status) || at == at.parent_path()) break;
    }
    return std::string();
  };
  return CLI::Validator(check, "FOLDER");
}

void add_set_option(CLI::App& sub, std::vector<std::string>& overrides) {
  sub.add_option("--set", overrides, "Override one config key; may be repeated")
      ->type_name("KEY=VALUE")
      ->take_all()
      ->allow_extra_args(false);
}

void add_device_option(CLI::App& sub, std::string& device) {
  CLI::Option* option = sub.add_option("--device", device, "Where to compute; auto: a GPU if there is one")
                            ->check(CLI::IsMember({"auto", "cpu", "cuda"}));
  device.empty() ? option->default_str("runtime.device from the config") : option->capture_default_str();
}

void add_checkpoint_option(CLI::App& sub, std::string& checkpoint) {
  sub.add_option("--checkpoint", checkpoint,
                 "Model: a checkpoint, a run directory (its newest checkpoint), or a folder with "
                 "model.safetensors and config.json")
      ->check(folder())
      ->required();
}

void add_tokenizer_option(CLI::App& sub, std::string& tokenizer) {
  sub.add_option("--tokenizer", tokenizer, "The model's tokenizer, for a model that was saved without one")
      ->type_name("FILE")
      ->default_str("the model's copy");
}

void add_json_flag(CLI::App& sub, bool& json) {
  sub.add_flag("--json", json, "Print the result as one JSON object on standard output");
}

}  // namespace saslm
