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

#include "data/document_reader.h"
#include "data/tokenizer.h"

namespace saslm {

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
  int64_t bytes_read = 0;  // of all input files, about up to `next`; exact where nothing is decompressed

  int64_t bytes() const;      // of documents
  int64_t documents() const;  // that begin here
};

class UnitReader : private DocumentSink {
 public:
  // The tokenizer must outlive the reader. Reading starts at `begin`.
  UnitReader(const Tokenizer& tokenizer, std::vector<std::string> inputs, DocumentFormat format,
             TextPosition begin);

  // Nothing when the inputs are at their end.
  std::optional<TextUnit> next();

 private:
  void open_input(const TextPosition& begin);
  void add_text(std::string_view text, const TextPosition& end) override;
  void end_document(const TextPosition& next) override;
  void cut_open_document(const TextPosition& end);
  void finish_unit(TextPosition next);

  std::unique_ptr<Encoder> encoder_;
  std::vector<std::string> inputs_;
  DocumentFormat format_;
  int64_t input_;             // being read, or to be opened next
  int64_t bytes_before_ = 0;  // in the files before that
  std::unique_ptr<DocumentReader> documents_;
  int64_t offset_ = 0;  // of the input being read: what was handed on
  bool in_document_ = false;
  TextUnit unit_;      // being made
  size_t try_cut_at_;  // bytes of it
  std::deque<TextUnit> ready_;
  std::vector<int32_t> ids_;  // scratch
};

}  // namespace saslm
