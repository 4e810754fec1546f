// Well-formed UTF-8 (Unicode, table 3-7): no overlong form, no surrogate, nothing above U+10FFFF.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace saslm {

struct Utf8Run {
  size_t end = 0;    // offset of the first byte after the run
  bool cut = false;  // the text ends inside a possible character that starts at `end`
};

// The longest run of complete characters from offset `at`.
Utf8Run utf8_run(std::string_view text, size_t at);

// Reads the character at `at`, which must be complete, and advances `at`.
char32_t next_character(std::string_view text, size_t& at);

void append_utf8(std::string& text, char32_t character);

}  // namespace saslm
