// Detects common JSON extensions: comments, trailing commas.
#pragma once
#include <string>

namespace saslm {

// For a text that did not parse: the extensions it uses, with line numbers and advice; "" if there are none,
// or if other things are wrong, too.
std::string dialect_of(const std::string& text);

}  // namespace saslm
