// Checks of command-line values that CLI11 does not make: integer overflow, NaN, files instead of folders.
#pragma once
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace CLI {
class App;
class Validator;
}  // namespace CLI

namespace saslm {

// The whole text is a decimal integer in [min, max].
CLI::Validator integer_in(int64_t min, int64_t max = std::numeric_limits<int64_t>::max());
// The whole text is a finite number >= min.
CLI::Validator number_from(double min);
// The path is a folder or can be created as one.
CLI::Validator folder();

// Options that several commands share: --set a.b=value, repeatable
void add_set_option(CLI::App& sub, std::vector<std::string>& overrides);
// --device; "" if absent: the config decides
void add_device_option(CLI::App& sub, std::string& device);
// --checkpoint, required
void add_checkpoint_option(CLI::App& sub, std::string& checkpoint);
// --tokenizer of a model
void add_tokenizer_option(CLI::App& sub, std::string& tokenizer);
void add_json_flag(CLI::App& sub, bool& json);

}  // namespace saslm
