// Prints a command's result on standard output as one JSON object. Bytes of paths that are not UTF-8 become
// U+FFFD; control characters are escaped in JSON, so the object does not change.
#pragma once
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

namespace saslm {

// The same JSON with escapes such as \u009b for characters that the library prints unescaped: DEL, C1 and
// bidirectional controls.
std::string json_for_terminals(const std::string& json);

template <class Json>
std::string text_of(const Json& json, int indent = -1) {
  return json_for_terminals(json.dump(indent, ' ', false, Json::error_handler_t::replace));
}

template <class Json>
void print_json(const Json& json, int indent = -1) {
  std::cout << text_of(json, indent) << "\n";
}

}  // namespace saslm
