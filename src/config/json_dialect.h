// What people write into JSON that is none: comments, commas before a closing bracket.
#pragma once
#include <string>

namespace saslm {

// For a text that did not parse: what of the above it has, with line numbers, and what to do; "" when it has
// none of them. Says so only where they are all that is wrong.
std::string dialect_of(const std::string& text);

}  // namespace saslm
