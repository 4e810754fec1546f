// Translates patterns of tokenizer files to PCRE2.
//
// The `tokenizers` library splits with Oniguruma (Ruby syntax, Unicode 16). Patterns that mean the same in
// both engines, or can be rewritten for PCRE2, are translated; everything else is refused: ^, \b, \w,
// look-behind and back references (a match must depend only on the text from its start on: split.h), negated
// sets in sets, lazy intervals. In Ruby syntax, {1,3}+ repeats the interval.
//
// \s is spelled out (PCRE2's includes U+180E). \p{X} gets the characters that Unicode 15 to 16 added to X, so
// that ids are the same with every PCRE2 since Unicode 14.
#pragma once
#include <string>
#include <string_view>

namespace saslm {

// DataError with `where`, the pattern, the byte, and what is not supported. PCRE2 checks that groups are
// closed.
std::string to_pcre2(std::string_view pattern, const std::string& where);

// Matches any text literally. DataError if it is not UTF-8.
std::string literal_to_pcre2(std::string_view text, const std::string& where);

}  // namespace saslm
