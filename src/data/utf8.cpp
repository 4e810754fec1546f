#include "data/utf8.h"

#include <algorithm>
#include <cstring>

namespace saslm {

namespace {

struct Lead {
  int more;                 // number of following bytes; -1: no character starts with this byte
  uint8_t lowest, highest;  // bounds of the second byte; those after it are 80 .. BF
};

Lead lead_of(uint8_t byte) {
  if (byte < 0x80) return {0, 0, 0};
  if (byte < 0xc2 || byte > 0xf4) return {-1, 0, 0};
  if (byte < 0xe0) return {1, 0x80, 0xbf};
  if (byte < 0xf0) return {2, uint8_t(byte == 0xe0 ? 0xa0 : 0x80), uint8_t(byte == 0xed ? 0x9f : 0xbf)};
  return {3, uint8_t(byte == 0xf0 ? 0x90 : 0x80), uint8_t(byte == 0xf4 ? 0x8f : 0xbf)};
}

}  // namespace

Utf8Run utf8_run(std::string_view text, size_t at) {
  const size_t size = text.size();
  while (at < size) {
    uint64_t eight;
    if (at + sizeof eight <= size) {
      std::memcpy(&eight, text.data() + at, sizeof eight);
      if ((eight & 0x8080808080808080) == 0) {
        at += sizeof eight;
        continue;
      }
    }
    const Lead lead = lead_of(uint8_t(text[at]));
    if (lead.more < 0) return {at};
    for (size_t i = 1; i <= size_t(lead.more); ++i) {
      if (at + i == size) return {at, true};
      const uint8_t byte = uint8_t(text[at + i]);
      if (byte < (i == 1 ? lead.lowest : 0x80) || byte > (i == 1 ? lead.highest : 0xbf)) return {at};
    }
    at += size_t(lead.more) + 1;
  }
  return {at};
}

char32_t next_character(std::string_view text, size_t& at) {
  const uint8_t byte = uint8_t(text[at++]);
  const int more = std::max(lead_of(byte).more, 0);
  char32_t character = more == 0 ? byte : byte & (0x3f >> more);
  for (int i = 0; i < more; ++i) character = character << 6 | (uint8_t(text[at++]) & 0x3f);
  return character;
}

void append_utf8(std::string& text, char32_t character) {
  const auto tail = [&](int shift) { text += char(0x80 | (character >> shift & 0x3f)); };
  if (character < 0x80) {
    text += char(character);
  } else if (character < 0x800) {
    text += char(0xc0 | character >> 6), tail(0);
  } else if (character < 0x10000) {
    text += char(0xe0 | character >> 12), tail(6), tail(0);
  } else {
    text += char(0xf0 | character >> 18), tail(12), tail(6), tail(0);
  }
}

}  // namespace saslm
