// Checks of command-line values that CLI11's own conversions let pass: integers that overflow or wrap, NaN,
// files where folders belong.
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
// The path is a folder, or could become one: what exists of it are folders.
CLI::Validator folder();

// What several commands have, in the same words:
// --set a.b=value, as often as one likes
void add_set_option(CLI::App& sub, std::vector<std::string>& overrides);
// --device; "" where it is left out: what the config says
void add_device_option(CLI::App& sub, std::string& device);
// --checkpoint, which must be given
void add_checkpoint_option(CLI::App& sub, std::string& checkpoint);
// --tokenizer of a model
void add_tokenizer_option(CLI::App& sub, std::string& tokenizer);
void add_json_flag(CLI::App& sub, bool& json);

}  // namespace saslm
