// A line of a .jsonl file: one JSON object with the text in one field.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace saslm {

// "a.b" -> {"a", "b"}: field b of object a. DataError for an empty name.
std::vector<std::string> field_keys(const std::string& field);

struct LineText {
  std::string text;
  std::string problem;  // why there is no text: what was wanted and what was found; "" if there is text
};

// Quotes text for messages, without terminal escapes.
std::string in_quotes(const std::string& text);

// Never throws because of the line's content.
LineText text_of_line(std::string_view line, const std::vector<std::string>& keys);

}  // namespace saslm
