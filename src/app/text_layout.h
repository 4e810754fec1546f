// Text in lines and in two columns, as help is shown.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace saslm {

// Width of help: the terminal's, from 60 to 100; 100 if standard output is not a terminal.
int help_width();

// A non-breaking space.
constexpr char kNoBreak = '\x1f';

// Wraps `text` to lines of at most `width` bytes if words allow it, each indented by `indent` spaces; ends
// with a newline.
std::string wrapped(std::string_view text, int indent, int width);

// Two columns, name and description, of which the second is wrapped. A name that is too long for the first
// column gets its own line.
using Row = std::pair<std::string, std::string>;
std::string in_columns(const std::vector<Row>& rows, int first_column, int width);

// Width of the first column: the longest name of at most 28 bytes, and spaces around it.
int first_column_of(const std::vector<Row>& rows);

}  // namespace saslm
