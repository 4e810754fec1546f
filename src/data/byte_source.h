// The bytes of an input in order, decompressed if necessary.
//
// gzip, zstd and xz are recognised by their first bytes, not by name; memory depends on the compression
// window, not on the file size. Consecutive members or frames form one text. Truncated or damaged data
// (checksums are verified) and trailing garbage are refused.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "core/error.h"

namespace saslm {

// The content of an input cannot be used and must be changed first.
struct ContentError : DataError {
  using DataError::DataError;
};

constexpr const char* kStandardInput = "-";
std::string shown(const std::string& path);  // for messages; "standard input" for -

class ByteSource {
 public:
  virtual ~ByteSource() = default;

  // Fills `out` unless the input ends first; returns the number of bytes. ContentError if the input is cut
  // short or damaged.
  virtual size_t read(std::span<char> out) = 0;
  virtual void skip(int64_t n);  // as if read; fewer if the input ends first
  // Position in the file after the first `n` bytes were returned, for progress; exact without compression.
  virtual int64_t file_position(int64_t n) const = 0;
};

struct OpenedSource {
  std::unique_ptr<ByteSource> bytes;
  std::string compression;  // "gzip", "zstd", "xz", or "" for none
};

// Opens kStandardInput or a path; decompresses nothing if `as_they_are`.
OpenedSource open_source(const std::string& path, bool as_they_are = false);

}  // namespace saslm
