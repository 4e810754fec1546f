// One input of `saslm tokenize`, opened: its text or lines of JSON, decompressed, without a byte order mark.
// Of a parquet file it only says that it is one, where the build reads such (parquet.h). Whatever else it is,
// by its first bytes, is refused (ContentError) with its name and what to do.
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
  text,       // even where the first line is a JSON object
  jsonl,      // a JSON object a line
  bytes,      // text that nobody looks at: neither decompressed nor refused; a byte order mark stays
};

class TextInput {
 public:
  TextInput(std::string path, InputFormat format);

  const std::string& path() const { return path_; }
  bool is_jsonl() const { return jsonl_; }
  bool is_parquet() const { return parquet_; }  // then read by open_parquet
  // What a user should be told: a dropped byte order mark, what was taken for JSON lines. "" for nothing.
  const std::string& remark() const { return remark_; }

  size_t read(std::span<char> out);  // fills `out` unless the end comes first
  void skip_to(int64_t offset);      // before the first read
  // Where read() goes on, in bytes of the decompressed input; a dropped byte order mark counts.
  int64_t offset() const { return offset_; }
  // How far the file itself was read when the text was used up to `offset`: for progress.
  int64_t file_position(int64_t offset) const { return bytes_->file_position(offset); }

 private:
  void refuse_what_is_no_text(const std::string& compression) const;
  std::string advice_for(const Sniffed& found, const std::string& compression) const;
  bool holds_parquet(InputFormat format, const std::string& compression) const;
  bool holds_json_lines(InputFormat format);
  void remark(const std::string& what);

  std::string path_, head_;  // head_: read, and not given out yet
  std::unique_ptr<ByteSource> bytes_;
  int64_t offset_ = 0;
  bool jsonl_ = false, parquet_ = false;
  std::string remark_;
};

}  // namespace saslm
