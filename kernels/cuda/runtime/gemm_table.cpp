#include "kernels/cuda/runtime/gemm_table.h"

#include <cinttypes>
#include <cstdio>
#include <sstream>

#include "core/error.h"

namespace saslm::cuda {
namespace {

[[noreturn]] void fail(const std::string& line) {
  throw CheckpointError("the table of matrix products has a line that is not ours: \"" + line.substr(0, 80) +
                        "\"; the checkpoint was changed by hand, or written by another saslm");
}

std::string hex(const GemmTable::Algorithm& algorithm) {
  std::string text;
  char word[17];
  for (const uint64_t x : algorithm) {
    std::snprintf(word, sizeof word, "%016" PRIx64, x);
    text += word;
  }
  return text;
}

GemmTable::Algorithm from_hex(const std::string& text, const std::string& line) {
  GemmTable::Algorithm algorithm{};
  if (text.size() != algorithm.size() * 16 || text.find_first_not_of("0123456789abcdef") != std::string::npos)
    fail(line);
  for (size_t i = 0; i < algorithm.size(); ++i)
    algorithm[i] = std::stoull(text.substr(16 * i, 16), nullptr, 16);
  return algorithm;
}

}  // namespace

const GemmTable::Algorithm* GemmTable::find(const Shape& shape) const {
  const auto found = choices_.find(shape);
  return found == choices_.end() ? nullptr : &found->second;
}

std::string GemmTable::text() const {
  if (choices_.empty()) return "";
  std::string text = holds_for_ + "\n";
  for (const auto& [shape, algorithm] : choices_) {
    for (const int64_t x : shape) text += std::to_string(x) + " ";
    text += ": " + hex(algorithm) + "\n";
  }
  return text;
}

bool GemmTable::add(const std::string& text) {
  std::istringstream lines(text);
  std::string line, colon, algorithm, more;
  if (!std::getline(lines, line)) return true;
  if (line != holds_for_) return false;
  std::map<Shape, Algorithm> added;
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    Shape shape{};
    for (int64_t& x : shape)
      if (!(words >> x)) fail(line);
    if (!(words >> colon >> algorithm) || colon != ":" || words >> more) fail(line);
    added[shape] = from_hex(algorithm, line);
  }
  for (const auto& [shape, choice] : added) choices_[shape] = choice;
  return true;
}

}  // namespace saslm::cuda
