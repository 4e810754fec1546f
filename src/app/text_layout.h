// Text in lines and in two columns, as help is shown.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace saslm {

// Columns for help: the terminal's, from 60 to 100; 100 where standard output is no terminal.
int help_width();

// A blank at which no line ends.
constexpr char kNoBreak = '\x1f';

// Words of `text` in lines of at most `width` bytes, where words allow it, each line with `indent` blanks
// before it; ends with a line break.
std::string wrapped(std::string_view text, int indent, int width);

// Rows of a name and what it is, the second column wrapped. A name that is too long for the first column has
// a line of its own.
using Row = std::pair<std::string, std::string>;
std::string in_columns(const std::vector<Row>& rows, int first_column, int width);

// The first column that these rows want: their longest name of at most 28 bytes, and the blanks around it.
int first_column_of(const std::vector<Row>& rows);

}  // namespace saslm
