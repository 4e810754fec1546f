// The texts of a parquet file, one per row of a string column, read by Arrow if it was found at build time
// (parquet.cpp). Without Arrow (no_parquet.cpp), parquet files are refused (text_input.h).
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace saslm {

constexpr std::string_view kParquetMagic = "PAR1";  // first and last bytes of the file

bool reads_parquet();  // whether this build does

class ParquetTexts {
 public:
  virtual ~ParquetTexts() = default;
  // The next row's text, valid until the next call; nullopt after the last. It is UTF-8 and may be empty.
  // ContentError, with the row's number (from 1), for a null, for invalid UTF-8, and for damaged or truncated
  // data; page checksums are verified if present.
  virtual std::optional<std::string_view> next() = 0;
  // Approximate file position after `rows` rows, for progress; the whole file at the end.
  virtual int64_t file_position(int64_t rows) const = 0;
};

// Opens a regular file and the column `field` (a.b: field b of struct a), and skips the first `begin` rows.
// Memory: the file's footer, and one page of the column with its dictionary.
//
// ContentError if there is no such column of strings (with a list of the columns), if the file is not
// parquet, or if it has fewer rows than `begin`. DataError if it cannot be opened, or in a build without
// Arrow.
std::unique_ptr<ParquetTexts> open_parquet(const std::string& path, const std::string& field,
                                           int64_t begin = 0);

}  // namespace saslm
