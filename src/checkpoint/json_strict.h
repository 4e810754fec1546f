// JSON as the files of this room are read: one document, no key twice, no deeper than asked.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace saslm {

// `what` names the text in errors. `max_depth` counts nested objects and arrays. Throws CheckpointError.
nlohmann::json parse_json_strict(std::string_view text, const std::string& what, int max_depth);

}  // namespace saslm
