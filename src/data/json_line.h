// A line of a .jsonl file: one JSON object, of which one field is the text.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace saslm {

// "a.b" -> {"a", "b"}: the field b of the object a. DataError for an empty name on the way.
std::vector<std::string> field_keys(const std::string& field);

struct LineText {
  std::string text;
  std::string problem;  // why there is none: what was wanted, and what the line holds; "" when there is
};

// For messages: in quotes, without anything a terminal obeys.
std::string in_quotes(const std::string& text);

// Never throws for what is in the line.
LineText text_of_line(std::string_view line, const std::vector<std::string>& keys);

}  // namespace saslm
