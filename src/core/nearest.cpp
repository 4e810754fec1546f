#include "core/nearest.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace saslm {

namespace {

constexpr size_t kMaxWord = 64;  // longer words get no suggestion
constexpr size_t kMinPart = 3;   // letters; shorter parts occur in too many words

// Fewest insertions, deletions, replacements and swaps of neighbours that turn a into b (optimal string
// alignment).
size_t edit_distance(const std::string& a, const std::string& b) {
  std::array<std::vector<size_t>, 3> rows;  // of i - 2, i - 1, i
  for (auto& row : rows) row.resize(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) rows[2][j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    std::rotate(rows.begin(), rows.begin() + 1, rows.end());
    rows[2][0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      rows[2][j] = std::min({rows[1][j - 1] + (a[i - 1] != b[j - 1]), rows[1][j] + 1, rows[2][j - 1] + 1});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        rows[2][j] = std::min(rows[2][j], rows[0][j - 2] + 1);
    }
  }
  return rows[2][b.size()];
}

bool holds(const std::string& whole, const std::string& part) {
  return part.size() >= kMinPart && whole.find(part) != whole.npos;
}

}  // namespace

std::string snake_case(std::string_view word) {
  std::string out;
  for (size_t i = 0; i < word.size(); ++i) {
    const auto c = static_cast<unsigned char>(word[i]);
    const bool begins_word =
        i > 0 && std::isupper(c) && std::islower(static_cast<unsigned char>(word[i - 1]));
    if (begins_word) out += '_';
    out += c == '-' ? '_' : char(std::tolower(c));
  }
  return out;
}

std::optional<std::string> nearest(std::string_view word, const std::vector<std::string>& candidates) {
  if (word.empty() || word.size() > kMaxWord) return {};
  const std::string meant = snake_case(word);
  struct Found {
    const std::string* candidate = nullptr;
    size_t distance = 0;
  };
  Found slip, part;
  const auto keep = [](Found& best, const std::string& candidate, size_t distance) {
    if (best.candidate == nullptr || distance < best.distance) best = {&candidate, distance};
  };
  for (const std::string& candidate : candidates) {
    const std::string other = snake_case(candidate);
    const size_t distance = edit_distance(meant, other);
    if (distance <= std::max<size_t>(1, std::min(meant.size(), other.size()) / 3))
      keep(slip, candidate, distance);
    if (holds(other, meant) || holds(meant, other)) keep(part, candidate, distance);
  }
  const std::string* const best = slip.candidate != nullptr ? slip.candidate : part.candidate;
  return best != nullptr ? std::optional(*best) : std::nullopt;
}

}  // namespace saslm
