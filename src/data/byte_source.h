// The bytes of an input, from its beginning to its end, decompressed where it is compressed.
//
// gzip, zstd and xz are told by their first bytes, whatever the name says, and read in memory that depends on
// the window they were written with, not on the file. Several members or frames one after the other are one
// text. What is cut short, damaged (their checksums are compared), or followed by something else is refused.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "core/error.h"

namespace saslm {

// An input holds what cannot be used: it has to change before it is of use.
struct ContentError : DataError {
  using DataError::DataError;
};

constexpr const char* kStandardInput = "-";
std::string shown(const std::string& path);  // for messages: "standard input" where it is

class ByteSource {
 public:
  virtual ~ByteSource() = default;

  // Fills `out` unless the end comes first; returns how much there was. ContentError where the input is cut
  // short or damaged.
  virtual size_t read(std::span<char> out) = 0;
  virtual void skip(int64_t n);  // as if they were read; fewer when the end comes first
  // How far the file itself has been read once the first `n` of its bytes were given out, for progress; exact
  // where nothing is decompressed.
  virtual int64_t file_position(int64_t n) const = 0;
};

struct OpenedSource {
  std::unique_ptr<ByteSource> bytes;
  std::string compression;  // "gzip", "zstd", "xz", or "" for none
};

// kStandardInput or a path. Decompresses nothing when the bytes are wanted as they are.
OpenedSource open_source(const std::string& path, bool as_they_are = false);

}  // namespace saslm
