// Text files -> units of about a MiB, which can be encoded independently, in any order.
//
// A unit holds whole documents, and maybe the end of one and the beginning of another. Where a document goes
// on in the next unit, the place where they meet was found by encoding a little text before it: very likely a
// cut of the document, but only whoever encodes the unit finds out (tokenize.cpp).
#pragma once
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/file.h"
#include "data/tokenizer.h"

namespace saslm {

struct TextPosition {  // in the inputs: where a unit ends and reading may start again
  int64_t input = 0, offset = 0;
  bool in_document = false;
};

struct TextPart {             // a document, or a piece of one
  size_t begin = 0, end = 0;  // in the unit's text
  size_t until = 0;  // open: the text from here to `end` is there to look ahead; the next unit begins with it
  bool begins_document = false, open = false;  // open: the document goes on in the next unit
};

struct TextUnit {
  std::string text;
  std::vector<TextPart>
      parts;               // in order; only the first may go on with a document, only the last may be open
  TextPosition next;       // where the unit after this begins
  int64_t bytes_read = 0;  // of all inputs, up to `next`

  int64_t bytes() const;      // of documents
  int64_t documents() const;  // that begin here
};

class UnitReader {
 public:
  // The tokenizer must outlive the reader. Reading starts at `begin`; `bytes_before` lie before it.
  UnitReader(const Tokenizer& tokenizer, std::vector<std::string> inputs, std::string separator,
             TextPosition begin, int64_t bytes_before);

  // Nothing when the inputs are at their end.
  std::optional<TextUnit> next();

 private:
  void open_input();
  void read_lines(bool at_end);
  bool is_separator(std::string_view line) const;
  void add_text(std::string_view text);
  void end_document(int64_t offset);
  void cut_open_document();
  void finish_unit(TextPosition next, int64_t offset);

  std::unique_ptr<Encoder> encoder_;
  std::vector<std::string> inputs_;
  std::string separator_;
  int64_t input_;         // being read, or to be opened next
  int64_t bytes_before_;  // in the inputs before that
  std::optional<File> file_;
  std::string held_;         // read and not handed on: a line is held only while it may still be a separator
  int64_t held_offset_ = 0;  // of held_ in the input
  bool at_line_start_ = true, in_document_ = false;
  std::string chunk_;
  TextUnit unit_;      // being made
  size_t try_cut_at_;  // bytes of it
  std::deque<TextUnit> ready_;
  std::vector<int32_t> ids_;  // scratch
};

}  // namespace saslm
