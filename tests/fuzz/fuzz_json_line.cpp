// Input: a line of a .jsonl file, of which the field "a.b" or "text" is wanted.
#include <nlohmann/json.hpp>

#include "data/json_line.h"
#include "data/utf8.h"
#include "fuzz/target.h"

namespace saslm::fuzz {
namespace of_json_line {

using nlohmann::json;

bool reads(std::string_view line, const std::string& field, const json::json_pointer& where) {
  const LineText found = text_of_line(line, field_keys(field));
  const json whole = json::parse(line, nullptr, false);
  const bool there = whole.is_object() && whole.contains(where) && whole[where].is_string();
  if (!found.problem.empty()) {
    require(found.text.empty(), "a line that is refused gives no text");
    for (const char c : found.problem)
      require(uint8_t(c) >= 0x20, "a message holds nothing a terminal obeys");
    return false;
  }
  require(there && whole[where] == found.text, "the text is the one that the whole line's tree has");
  require(utf8_run(found.text, 0).end == found.text.size(), "text out of JSON is UTF-8");
  return true;
}

bool run(std::string_view input) {
  const bool flat = reads(input, "text", "/text"_json_pointer);
  const bool nested = reads(input, "a.b", "/a/b"_json_pointer);
  return flat || nested;
}

std::vector<std::string> seeds() {
  return {R"({"text": "one\n\u00e9\ud83d\ude00", "n": 1})",
          R"({"a": {"c": [1, {"b": "no"}], "b": "deep"}, "b": 2.5e3})",
          R"({"x": null, "y": [true, [], {}], "text": ""})"};
}

}  // namespace of_json_line

const Target kJsonLine = {
    "json_line", of_json_line::run, of_json_line::seeds, {"text", "\\u0000", "\\ud800"}};

}  // namespace saslm::fuzz
