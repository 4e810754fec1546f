#include "core/printable.h"

#include <array>
#include <cstdint>

namespace saslm {

namespace {

struct Character {
  size_t bytes = 1;
  bool valid = false;
  uint32_t code = 0;
};

// The first character of a non-empty text.
Character first_character(std::string_view text) {
  const auto byte = [&](size_t i) { return uint32_t(uint8_t(text[i])); };
  const uint32_t lead = byte(0);
  if (lead < 0x80) return {1, true, lead};
  const size_t bytes = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC0 || lead > 0xF7 || text.size() < bytes) return {};
  uint32_t code = lead & (0x7Fu >> bytes);
  for (size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {};
    code = code << 6 | (byte(i) & 0x3F);
  }
  constexpr std::array<uint32_t, 5> kLeast = {0, 0, 0x80, 0x800, 0x10000};  // smaller values are overlong
  const bool valid = code >= kLeast[bytes] && code <= 0x10FFFF && !(code >= 0xD800 && code <= 0xDFFF);
  return valid ? Character{bytes, true, code} : Character{};
}

bool acts_on_a_terminal(uint32_t code) {
  return code < 0x20 || (code >= 0x7F && code <= 0x9F) || code == 0x2028 || code == 0x2029 ||
         (code >= 0x202A && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
}

std::string escaped(std::string_view text, std::string_view kept) {
  constexpr const char* kDigits = "0123456789ABCDEF";
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Character c = first_character(text);
    const std::string_view bytes = text.substr(0, c.bytes);
    if (c.valid && (!acts_on_a_terminal(c.code) || kept.find(bytes) != kept.npos)) {
      out += bytes;
    } else {
      for (const char byte : bytes) {
        out += "\\x";
        out += kDigits[uint8_t(byte) >> 4];
        out += kDigits[uint8_t(byte) & 15];
      }
    }
    text.remove_prefix(c.bytes);
  }
  return out;
}

}  // namespace

std::string printable(std::string_view text) {
  return escaped(text, "");
}

std::string printable_lines(std::string_view text) {
  return escaped(text, "\n\t");
}

}  // namespace saslm
