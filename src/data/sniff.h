// Recognises a file's type by its first bytes, independent of its name.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace saslm {

enum class Content { text, gzip, zstd, xz, other };

struct Sniffed {
  Content content = Content::text;
  std::string what;    // "a PDF document"; "" for text
  std::string advice;  // what to do instead; "" for text and compression that we support
};

// How many bytes are examined.
constexpr size_t kSniffBytes = 16 << 10;

// `head`: the whole file, or at least its first kSniffBytes. An empty file is text.
Sniffed sniff(std::string_view head);

// Whether the first non-blank line is a JSON object, as in JSON lines. An object that ends outside `head`
// counts.
bool begins_with_json_object(std::string_view head);

// Whether every other uint16 is 0: the upper halves of uint32 ids.
bool are_wide_ids(std::string_view head);

// Guesses, for messages, whether a file of `file_bytes` bytes contains bare token ids: "uint16", "uint32", or
// "" for something else.
std::string raw_type_of(std::string_view head, int64_t file_bytes);

}  // namespace saslm
