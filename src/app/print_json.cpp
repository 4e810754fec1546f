#include "app/print_json.h"

#include <array>
#include <cstdio>
#include <string_view>

namespace saslm {

namespace {

// A character at the start of the text that must be escaped, and its size in bytes; 0 bytes if none must.
struct Escaped {
  unsigned code = 0;
  size_t bytes = 0;
};

Escaped must_be_escaped(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? unsigned(uint8_t(text[i])) : 0u; };
  if (byte(0) == 0x7F) return {0x7F, 1};
  if (byte(0) == 0xC2 && byte(1) >= 0x80 && byte(1) <= 0x9F) return {byte(1), 2};
  if (byte(0) == 0xE2 && byte(1) == 0x80 && byte(2) >= 0xA8 && byte(2) <= 0xAE) return {0x1F80 + byte(2), 3};
  if (byte(0) == 0xE2 && byte(1) == 0x81 && byte(2) >= 0xA6 && byte(2) <= 0xA9) return {0x1FC0 + byte(2), 3};
  return {};
}

}  // namespace

std::string json_for_terminals(const std::string& json) {
  std::string out;
  for (size_t at = 0; at < json.size();) {
    const Escaped escaped = must_be_escaped(std::string_view(json).substr(at));
    if (escaped.bytes == 0) {
      out += json[at++];
      continue;
    }
    std::array<char, 8> text;
    std::snprintf(text.data(), text.size(), "\\u%04x", escaped.code);
    out += text.data();
    at += escaped.bytes;
  }
  return out;
}

}  // namespace saslm
