// The documents of one input, piece by piece.
//
// Text: the whole input is one document; a line that consists of the separator ends it and starts another.
// JSON lines: every line is a document, whose text is a field of the line's object; blank lines are skipped.
// Parquet: every row is a document, whose text is in a column.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/text_input.h"

namespace saslm {

struct TextPosition {  // a place in the inputs where a unit ends and reading may restart
  int64_t input = 0;
  int64_t offset = 0;  // in the decompressed input; JSON lines: of the start of a line; parquet: rows
  bool in_document = false;
  int64_t skipped = 0;  // JSON lines, parquet: bytes of the document's text before the position
};

// The position `n` bytes earlier in the same document.
TextPosition before(TextPosition position, int64_t n);

class DocumentSink {
 public:
  virtual ~DocumentSink() = default;
  // `end`: where the piece ends in the document; its `input` is not set.
  virtual void add_text(std::string_view piece, const TextPosition& end) = 0;
  virtual void end_document(const TextPosition& next) = 0;
};

struct DocumentFormat {
  InputFormat input = InputFormat::automatic;
  std::string separator = "<|endoftext|>";            // "" = text is never split
  std::string field = "text";                         // a.b: the field b of the object a
  std::function<void(const std::string&)> note = {};  // called with an input's remark (text_input.h)
};

class DocumentReader {
 public:
  virtual ~DocumentReader() = default;
  // Passes on the next pieces; false at the end of the input, of which the sink is not informed. ContentError
  // for unreadable content.
  virtual bool read(DocumentSink& sink) = 0;
  virtual int64_t file_position(int64_t offset) const = 0;  // as TextInput's
};

// Starts at `begin`, a position from an earlier reader of the same input.
std::unique_ptr<DocumentReader> read_documents(const std::string& path, const DocumentFormat& format,
                                               const TextPosition& begin);

}  // namespace saslm
