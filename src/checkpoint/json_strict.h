// JSON as a checkpoint's files are read: one document, no key twice, no deeper than asked.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace saslm {

// `what` names the text in errors. `max_depth` counts nested objects and arrays. Throws CheckpointError.
nlohmann::json parse_json_strict(std::string_view text, const std::string& what, int max_depth);

// object[key], which must be an integer, 0 .. 2^63-1; CheckpointError when it is not.
int64_t count_at(const nlohmann::json& object, const char* key, const std::string& what);

}  // namespace saslm
