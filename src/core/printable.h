// Makes untrusted text (names, paths, keys) safe for terminals and logs: it cannot move the cursor, change
// colours or reading order, or forge lines.
//
// UTF-8 stays unchanged, except control characters (C0, DEL, C1), line and paragraph separators, and
// bidirectional controls (U+202A .. U+202E, U+2066 .. U+2069): their bytes, and bytes that are not UTF-8,
// become \xNN.
#pragma once
#include <string>
#include <string_view>

namespace saslm {

std::string printable(std::string_view text);        // one line
std::string printable_lines(std::string_view text);  // newlines and tabs stay

}  // namespace saslm
