// Patterns of tokenizer files, in PCRE2's words.
//
// The `tokenizers` library splits with Oniguruma (Ruby syntax, Unicode 16). What both engines read alike, or
// what can be said to PCRE2 so that it means the same, is translated; anything else is refused rather than
// guessed: ^, \b, \w, look-behind and back references (a match must depend only on the text from its start
// on: split.h), negated sets in sets, lazy intervals. {1,3}+ means to Ruby that the interval may come again.
//
// \s is spelled out (PCRE2's takes U+180E too). \p{X} gets the characters that Unicode 15 to 16 added to X,
// so that ids are the same with every PCRE2 since Unicode 14.
#pragma once
#include <string>
#include <string_view>

namespace saslm {

// DataError: `where`, the pattern, the byte, and what is not supported there. Whether groups close is left to
// PCRE2.
std::string to_pcre2(std::string_view pattern, const std::string& where);

// Any text, taken literally. DataError when it is not UTF-8.
std::string literal_to_pcre2(std::string_view text, const std::string& where);

}  // namespace saslm
