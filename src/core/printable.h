// Text that others chose (names, paths, keys), fit for a terminal and a log: it moves no cursor, changes no
// colour and no order of reading, and forges no line.
//
// UTF-8 stays as it is, but for control characters (C0, DEL, C1), line and paragraph separators, and what
// turns the direction of writing (U+202A .. U+202E, U+2066 .. U+2069): their bytes, and bytes that are not
// UTF-8, become \xNN.
#pragma once
#include <string>
#include <string_view>

namespace saslm {

std::string printable(std::string_view text);        // one line
std::string printable_lines(std::string_view text);  // line breaks and tabs stay

}  // namespace saslm
