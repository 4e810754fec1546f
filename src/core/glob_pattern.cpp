#include "core/glob_pattern.h"

#include <glob.h>

#include <algorithm>
#include <filesystem>

#include "core/error.h"

namespace saslm {

namespace {

constexpr const char* kSpecial = "*?[\\";

std::string without_backslashes(const std::string& pattern) {
  std::string text;
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] == '\\' && i + 1 < pattern.size()) ++i;
    text += pattern[i];
  }
  return text;
}

}  // namespace

std::string pattern_of(const std::string& path) {
  std::string pattern;
  for (const char c : path) {
    if (std::string_view(kSpecial).find(c) != std::string_view::npos) pattern += '\\';
    pattern += c;
  }
  return pattern;
}

bool is_pattern(const std::string& text) {
  return text.find_first_of(kSpecial) != std::string::npos;
}

std::vector<std::string> paths_matching(const std::string& pattern) {
  std::error_code unknown;
  if (std::filesystem::exists(pattern, unknown)) return {pattern};
  if (!is_pattern(pattern)) return {};
  const std::string plain = without_backslashes(pattern);
  if (plain != pattern && std::filesystem::exists(plain, unknown)) return {plain};
  glob_t found = {};
  const int result = ::glob(pattern.c_str(), GLOB_NOSORT, nullptr, &found);
  std::vector<std::string> paths(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  ::globfree(&found);
  if (result == GLOB_NOSPACE) throw IoError("glob " + pattern + ": out of memory");
  std::sort(paths.begin(), paths.end());  // glob would sort by locale
  return paths;
}

}  // namespace saslm
