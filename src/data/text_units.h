// Divides text files into units of about 1 MiB, which can be encoded independently, in any order.
//
// A unit contains whole documents, and possibly the end of one and the start of another. If a document
// continues in the next unit, the boundary was found by encoding a little text before it: it is very likely a
// cut of the document, which is confirmed only when the unit is encoded (tokenize.cpp).
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

struct TextPart {             // a document, or a part of one
  size_t begin = 0, end = 0;  // in the unit's text
  size_t until = 0;  // open: the text from here to `end` is look-ahead, with which the next unit starts
  bool begins_document = false, open = false;  // open: the document continues in the next unit
};

struct TextUnit {
  std::string text;
  std::vector<TextPart> parts;  // in order; only the first may continue a document, only the last may be open
  TextPosition next;            // where the next unit starts
  int64_t bytes_read = 0;       // of all input files, approximately up to `next`; exact without compression

  int64_t bytes() const;      // of documents
  int64_t documents() const;  // that start here
};

class UnitReader : private DocumentSink {
 public:
  // The tokenizer must outlive the reader. Reading starts at `begin`.
  UnitReader(const Tokenizer& tokenizer, std::vector<std::string> inputs, DocumentFormat format,
             TextPosition begin);

  // nullopt at the end of the inputs.
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
  int64_t bytes_before_ = 0;  // in the files before it
  std::unique_ptr<DocumentReader> documents_;
  int64_t offset_ = 0;  // of the current input: what was passed on
  bool in_document_ = false;
  TextUnit unit_;      // being made
  size_t try_cut_at_;  // bytes of it
  std::deque<TextUnit> ready_;
  std::vector<int32_t> ids_;  // scratch
};

}  // namespace saslm
