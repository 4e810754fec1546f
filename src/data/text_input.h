// An open input of `saslm tokenize`: its text or JSON lines, decompressed, without a byte order mark. A
// parquet file is only recognised here (see parquet.h). Other file types, recognised by their first bytes,
// are refused with advice (ContentError).
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "data/byte_source.h"
#include "data/sniff.h"

namespace saslm {

enum class InputFormat {
  automatic,  // by name and first bytes
  text,       // even if the first line is a JSON object
  jsonl,      // one JSON object per line
  bytes,      // unchanged bytes: neither decompressed nor refused; a byte order mark stays
};

class TextInput {
 public:
  TextInput(std::string path, InputFormat format);

  const std::string& path() const { return path_; }
  bool is_jsonl() const { return jsonl_; }
  bool is_parquet() const { return parquet_; }  // then use open_parquet
  // A remark for the user: a dropped byte order mark, or that the input is read as JSON lines; "" for none.
  const std::string& remark() const { return remark_; }

  size_t read(std::span<char> out);  // fills `out` unless the input ends first
  void skip_to(int64_t offset);      // before the first read
  // Where read() continues, in bytes of the decompressed input; a dropped byte order mark counts.
  int64_t offset() const { return offset_; }
  // File position that corresponds to `offset` in the text, for progress.
  int64_t file_position(int64_t offset) const { return bytes_->file_position(offset); }

 private:
  void refuse_what_is_no_text(const std::string& compression) const;
  std::string advice_for(const Sniffed& found, const std::string& compression) const;
  bool holds_parquet(InputFormat format, const std::string& compression) const;
  bool holds_json_lines(InputFormat format);
  void remark(const std::string& what);

  std::string path_, head_;  // head_: read ahead, not yet returned
  std::unique_ptr<ByteSource> bytes_;
  int64_t offset_ = 0;
  bool jsonl_ = false, parquet_ = false;
  std::string remark_;
};

}  // namespace saslm
