#include "app/text_layout.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>

namespace saslm {
namespace {

constexpr int kNarrowest = 60, kWidest = 100, kLongestName = 28, kMargin = 2;

std::string blanks(int count) {
  return std::string(size_t(std::max(0, count)), ' ');
}

}  // namespace

int help_width() {
  winsize size{};
  if (isatty(STDOUT_FILENO) != 1 || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
    return kWidest;
  return std::clamp(int(size.ws_col), kNarrowest, kWidest);
}

std::string wrapped(std::string_view text, int indent, int width) {
  const auto too_long = [&](const std::string& line) { return indent + int(line.size()) > width; };
  std::string lines, line, word;
  std::istringstream words{std::string(text)};
  const auto end_line = [&] {
    if (!line.empty()) lines += blanks(indent) + line + "\n";
    line.clear();
  };
  const auto add = [&](const std::string& next) {
    if (!line.empty() && too_long(line + " " + next)) end_line();
    line += (line.empty() ? "" : " ") + next;
  };
  while (words >> word) {
    if (!too_long(word)) {
      std::replace(word.begin(), word.end(), kNoBreak, ' ');
      add(word);
      continue;
    }
    std::istringstream parts(word);
    while (std::getline(parts, word, kNoBreak)) add(word);
  }
  end_line();
  return lines;
}

std::string in_columns(const std::vector<Row>& rows, int first_column, int width) {
  std::string text;
  for (const auto& [name, what] : rows) {
    const std::string lines = wrapped(what, first_column, width);
    const std::string begin = blanks(kMargin) + name;
    if (lines.empty())
      text += begin + "\n";
    else if (int(begin.size()) + kMargin <= first_column)
      text += begin + lines.substr(begin.size());
    else
      text += begin + "\n" + lines;
  }
  return text;
}

int first_column_of(const std::vector<Row>& rows) {
  size_t longest = 0;
  for (const auto& [name, what] : rows)
    if (name.size() <= size_t(kLongestName)) longest = std::max(longest, name.size());
  return int(longest) + 2 * kMargin;
}

}  // namespace saslm
