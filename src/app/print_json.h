// A command's result on standard output, as one JSON object. Paths need not be UTF-8, which JSON is: what is
// not becomes U+FFFD.
#pragma once
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

namespace saslm {

template <class Json>
std::string text_of(const Json& json, int indent = -1) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

template <class Json>
void print_json(const Json& json, int indent = -1) {
  std::cout << text_of(json, indent) << "\n";
}

}  // namespace saslm
