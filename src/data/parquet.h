// The texts of a parquet file, one a row: a column of strings, read by Arrow where it was found at build time
// (parquet.cpp). Without it (no_parquet.cpp) such a file is refused by name (text_input.h).
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace saslm {

constexpr std::string_view kParquetMagic = "PAR1";  // its first bytes, and its last

bool reads_parquet();  // whether this build does

class ParquetTexts {
 public:
  virtual ~ParquetTexts() = default;
  // The next row's text, which stays until the next call; nothing after the last. It is UTF-8 and may be
  // empty. ContentError, with the row's number (the first is 1), for a null, for other bytes, and for what is
  // damaged or cut short; checksums of pages are compared where there are any.
  virtual std::optional<std::string_view> next() = 0;
  // About how far the file was read when `rows` of its rows were given, for progress. All of it at the end.
  virtual int64_t file_position(int64_t rows) const = 0;
};

// A regular file, and the column that `field` names: a.b is the field b of the struct a. The first `begin`
// rows are passed over. Held in memory are the file's footer, and of one row group at a time a page of the
// column and its dictionary.
//
// ContentError when the column is not there or not of strings, with what the file has; when it is no parquet;
// when it has fewer rows than `begin`. DataError when it cannot be opened, or in a build without Arrow.
std::unique_ptr<ParquetTexts> open_parquet(const std::string& path, const std::string& field,
                                           int64_t begin = 0);

}  // namespace saslm
