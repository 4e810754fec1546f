// File name patterns as in glob(7): *, ?, [...], and \ before a literal character.
#pragma once
#include <string>
#include <vector>

namespace saslm {

// Escapes a path, so that the pattern matches exactly this path.
std::string pattern_of(const std::string& path);

// Whether `text` can match anything but itself.
bool is_pattern(const std::string& text);

// Existing paths that match, sorted bytewise; possibly none. If a path exists whose name is the pattern
// itself (or the pattern without its backslashes), only that one is returned, so names may contain brackets.
std::vector<std::string> paths_matching(const std::string& pattern);

}  // namespace saslm
