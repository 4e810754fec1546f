// A command's result on standard output, as one JSON object. Paths need not be UTF-8, which JSON is: what is
// not becomes U+FFFD, and what a terminal would obey is escaped as JSON has it, so that the text stays the
// same object.
#pragma once
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

namespace saslm {

// The same JSON, with \u009b for what the library prints as it is: DEL, C1 and what turns the direction of
// writing.
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
