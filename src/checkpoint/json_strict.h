// Strict JSON for checkpoint files: one document, no repeated keys, limited nesting.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace saslm {

// `what` names the text in errors. `max_depth` counts nested objects and arrays. Throws CheckpointError.
nlohmann::json parse_json_strict(std::string_view text, const std::string& what, int max_depth);

// Returns object[key]; CheckpointError unless it is an integer, 0 .. 2^63-1.
int64_t count_at(const nlohmann::json& object, const char* key, const std::string& what);

}  // namespace saslm
