// Patterns of file names, those of glob(7): *, ?, [...], and \ before a character that stands for itself.
#pragma once
#include <string>
#include <vector>

namespace saslm {

// The pattern of this very path: a folder in which a user's pattern begins is not part of the pattern,
// whatever its name.
std::string pattern_of(const std::string& path);

// Whether it can match anything but itself.
bool is_pattern(const std::string& text);

// What is there under this pattern, sorted bytewise; nothing is no error. When there is something called as
// the pattern is spelled (or as it reads without its backslashes), that alone: brackets in a name are then
// no pattern.
std::vector<std::string> paths_matching(const std::string& pattern);

}  // namespace saslm
