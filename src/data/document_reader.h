// The documents of one input, piece by piece.
//
// Text: the whole input is a document, and a line that consists of the separator ends it and begins another.
// JSON lines: every line is a document, its text a field of the line's object. Blank lines are skipped.
// Parquet: every row is a document, its text that of a column.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/text_input.h"

namespace saslm {

struct TextPosition {  // in the inputs: where a unit ends and reading may start again
  int64_t input = 0;
  int64_t offset = 0;  // in the decompressed input; JSON lines: of a line's beginning; parquet: rows
  bool in_document = false;
  int64_t skipped = 0;  // JSON lines, parquet: bytes of the line's text that lie before the position
};

// The position `n` bytes earlier in the same document.
TextPosition before(TextPosition position, int64_t n);

class DocumentSink {
 public:
  virtual ~DocumentSink() = default;
  // `end` is where the piece ends, in the document. Its `input` is not set.
  virtual void add_text(std::string_view piece, const TextPosition& end) = 0;
  virtual void end_document(const TextPosition& next) = 0;
};

struct DocumentFormat {
  InputFormat input = InputFormat::automatic;
  std::string separator = "<|endoftext|>";            // "" = text is never split
  std::string field = "text";                         // a.b: the field b of the object a
  std::function<void(const std::string&)> note = {};  // told an input's remark (text_input.h)
};

class DocumentReader {
 public:
  virtual ~DocumentReader() = default;
  // Hands on some more; false at the end of the input, which the sink is not told. ContentError for what
  // cannot be read.
  virtual bool read(DocumentSink& sink) = 0;
  virtual int64_t file_position(int64_t offset) const = 0;  // as TextInput's
};

// Begins at `begin`, which an earlier reader of the same input gave.
std::unique_ptr<DocumentReader> read_documents(const std::string& path, const DocumentFormat& format,
                                               const TextPosition& begin);

}  // namespace saslm
