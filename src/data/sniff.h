// What a file is, by its first bytes, whatever its name says.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace saslm {

enum class Content { text, gzip, zstd, xz, other };

struct Sniffed {
  Content content = Content::text;
  std::string what;    // "a PDF document"; "" for text
  std::string advice;  // what to do instead of giving it as text; "" for text and what we decompress
};

// How much of a file's beginning is looked at.
constexpr size_t kSniffBytes = 16 << 10;

// `head` is the file's beginning: all of it, or at least kSniffBytes. Nothing at all is text.
Sniffed sniff(std::string_view head);

// The first line that is not blank, when it can only be that of JSON lines: an object. An object of which the
// end lies outside `head` counts.
bool begins_with_json_object(std::string_view head);

// Whether every other uint16 is 0: the upper halves of uint32 ids.
bool are_wide_ids(std::string_view head);

// What a file of `file_bytes` bytes would hold if it holds bare token ids: "uint16" or "uint32"; "" when it
// looks like something else. A guess, for messages.
std::string raw_type_of(std::string_view head, int64_t file_bytes);

}  // namespace saslm
