// Well-formed UTF-8 (Unicode, table 3-7): no overlong form, no surrogate, nothing above U+10FFFF.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace saslm {

struct Utf8Run {
  size_t end = 0;    // offset of the first byte that does not belong to the run
  bool cut = false;  // the text ends inside what may yet become a character, which begins at `end`
};

// The longest run of whole characters from offset `at` on.
Utf8Run utf8_run(std::string_view text, size_t at);

// Reads the character at `at`, which must be whole, and moves `at` behind it.
char32_t next_character(std::string_view text, size_t& at);

void append_utf8(std::string& text, char32_t character);

}  // namespace saslm
