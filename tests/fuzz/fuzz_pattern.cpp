// Input: a line with a pattern of a tokenizer file for each step of splitting, a line "%text", and a text.
#include <algorithm>

#include "core/error.h"
#include "data/split.h"
#include "data/utf8.h"
#include "fuzz/target.h"

namespace saslm::fuzz {
namespace of_pattern {

constexpr std::string_view kText = "\n%text\n";
constexpr size_t kMaxText = 12;  // on more, a pattern of the exponential kind takes longer than it tells
constexpr size_t kMaxSteps = 4;

void require_sound(const SplitPatterns& patterns, std::string_view text) {
  if (text.empty()) return;  // nobody splits it
  PieceSplitter splitter(patterns);
  std::vector<std::string_view> pieces, parts;
  const auto keep = [&](std::string_view piece) { pieces.push_back(piece); };
  require(splitter.split(text, false, text.size(), keep) == text.size(), "a text is split to its end");
  std::string whole;
  for (const std::string_view piece : pieces) {
    require(!piece.empty() && utf8_run(piece, 0).end == piece.size(), "a piece is whole characters");
    whole += piece;
  }
  require(whole == text, "the pieces are the text");
  const auto again = [&](std::string_view piece) { parts.push_back(piece); };
  for (size_t at = 0; at < text.size();) at += splitter.split(text.substr(at), false, 1, again);
  require(parts == pieces, "pieces do not depend on where cutting stops and starts again");
  parts.clear();
  const size_t certain = splitter.split(text, true, text.size(), again);
  require(certain <= text.size() && parts.size() <= pieces.size() &&
              std::equal(parts.begin(), parts.end(), pieces.begin()),
          "what is certain while more may follow stays so");
}

bool run(std::string_view input) {
  const auto [before, after] = cut(input, kText);
  std::string_view lines = before, text = after;
  while (text.size() > kMaxText || utf8_run(text, 0).end < text.size()) text.remove_suffix(1);
  std::vector<SplitStep> steps;
  while (!lines.empty() && steps.size() < kMaxSteps) {
    const auto [line, rest] = cut(lines, "\n");
    const bool literal = line.starts_with('=');
    steps.push_back({std::string(line.substr(literal)), literal});
    lines = rest;
  }
  return accepts<DataError>([&] { require_sound(SplitPatterns("tokenizer.json", steps), text); });
}

std::vector<std::string> seeds() {
  const std::string text = std::string(kText) + "I's 12 \xc3\xa9t \n!";
  return {R"('s|'t| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)" + text,
          "(?i:'s|'t|'re)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|\\s*[\\r\\n]+\n=12\n\\p{N}" + text,
          R"([\x41-\u0042\-\]a-z]++|(?>a|b)*?c|.|\d\D\S\P{Lu}\p{^Lu}(?=\x{1F600}))" + text};
}

}  // namespace of_pattern

const Target kPattern = {"pattern",
                         of_pattern::run,
                         of_pattern::seeds,
                         {std::string(of_pattern::kText),
                          "(?i:",
                          "(?:",
                          "(?=",
                          "(?!",
                          "(?>",
                          "\\p{",
                          "\\P{",
                          "\\s",
                          "\\S",
                          "\\d",
                          "\\D",
                          "{1,3}",
                          "{2}",
                          "[^",
                          "\\x{",
                          "\\u00e9",
                          "++",
                          "*?",
                          "&&",
                          "Lu}",
                          "Nd}"}};

}  // namespace saslm::fuzz
