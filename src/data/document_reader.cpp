#include "data/document_reader.h"

#include <algorithm>
#include <array>
#include <optional>

#include "data/json_line.h"
#include "data/parquet.h"

namespace saslm {

namespace {

constexpr size_t kChunkBytes = 1 << 18;
constexpr size_t kMaxLineBytes = size_t(1) << 30;  // held in memory as a whole

// Passes on the text that starts at `begin`, without its first `skip` bytes.
void hand_on_rest(DocumentSink& sink, std::string_view text, int64_t skip, int64_t begin) {
  for (size_t at = size_t(skip); at < text.size(); at += kChunkBytes) {
    const std::string_view piece = text.substr(at, kChunkBytes);
    sink.add_text(piece, {.offset = begin, .in_document = true, .skipped = int64_t(at + piece.size())});
  }
}

class TextDocuments : public DocumentReader {
 public:
  TextDocuments(TextInput input, std::string separator, const TextPosition& begin)
      : input_(std::move(input)), separator_(std::move(separator)), chunk_(kChunkBytes, '\0') {
    if (begin.offset > input_.offset()) {
      input_.skip_to(begin.offset - 1);
      char last = 0;
      input_.read(std::span(&last, 1));
      at_line_start_ = last == '\n';
    }
    held_offset_ = input_.offset();
  }

  bool read(DocumentSink& sink) override {
    const size_t n = input_.read(chunk_);
    held_.append(chunk_, 0, n);
    hand_on(sink, n == 0);
    return n > 0;
  }

  int64_t file_position(int64_t offset) const override { return input_.file_position(offset); }

 private:
  void hand_on(DocumentSink& sink, bool at_end) {
    const std::string_view text = held_;
    const int64_t base = held_offset_;
    size_t begin = 0, at = 0;  // of text not passed on yet, and of the current line
    const auto hand_on_to = [&](size_t end) {
      held_offset_ = base + int64_t(end);
      if (end > begin)
        sink.add_text(text.substr(begin, end - begin), {.offset = held_offset_, .in_document = true});
    };
    while (at < text.size()) {
      const size_t newline = text.find('\n', at);
      const bool whole = newline != std::string_view::npos || at_end;
      const std::string_view line = text.substr(at, newline - at);  // npos - at is still past the end
      if (at_line_start_ && !whole && line.size() <= separator_.size() + 1) break;
      const size_t next = newline == std::string_view::npos ? text.size() : newline + 1;
      if (at_line_start_ && whole && is_separator(line)) {
        hand_on_to(at);
        held_offset_ = base + int64_t(next);
        sink.end_document({.offset = held_offset_});
        begin = next;
      }
      at_line_start_ = newline != std::string_view::npos;
      at = next;
    }
    hand_on_to(at);
    held_.erase(0, at);
  }

  bool is_separator(std::string_view line) const {
    if (line.ends_with('\r')) line.remove_suffix(1);  // a file with CRLF line ends
    return !separator_.empty() && line == separator_;
  }

  TextInput input_;
  std::string separator_, chunk_;
  std::string held_;         // read but not passed on: a line is held only while it may be a separator
  int64_t held_offset_ = 0;  // of held_ in the input
  bool at_line_start_ = true;
};

class JsonLines : public DocumentReader {
 public:
  JsonLines(TextInput input, InputFormat format, const std::string& field, const TextPosition& begin)
      : input_(std::move(input)),
        format_(format),
        keys_(field_keys(field)),
        skip_(begin.skipped),
        chunk_(kChunkBytes, '\0') {
    if (begin.offset > input_.offset()) input_.skip_to(begin.offset);
    first_offset_ = held_offset_ = input_.offset();
  }

  bool read(DocumentSink& sink) override {
    const size_t n = input_.read(chunk_);
    const size_t before = held_.size();
    held_.append(chunk_, 0, n);
    size_t at = 0;
    for (size_t newline = held_.find('\n', before); newline != held_.npos; newline = held_.find('\n', at)) {
      hand_on(sink, std::string_view(held_).substr(at, newline - at), newline + 1 - at);
      at = newline + 1;
    }
    held_.erase(0, at);
    if (n == 0 && !held_.empty()) hand_on(sink, held_, held_.size());
    if (n == 0) held_.clear();
    if (held_.size() > kMaxLineBytes) refuse("longer than 1 GiB; wanted one JSON object per line");
    return n > 0;
  }

  int64_t file_position(int64_t offset) const override { return input_.file_position(offset); }

 private:
  // `bytes`: the length of `line` including its end.
  void hand_on(DocumentSink& sink, std::string_view line, size_t bytes) {
    const int64_t begin = held_offset_;
    if (line.find_first_not_of(" \t\r") != line.npos) {
      const LineText found = text_of_line(line, keys_);
      if (!found.problem.empty()) refuse(found.problem);
      const std::string_view text = found.text;
      if (size_t(skip_) > text.size()) refuse("shorter than when it was read before");
      hand_on_rest(sink, text, skip_, begin);
    }
    skip_ = 0;
    ++lines_;
    held_offset_ = begin + int64_t(bytes);
    sink.end_document({.offset = held_offset_});
  }

  [[noreturn]] void refuse(const std::string& problem) {
    throw ContentError(shown(input_.path()) + ": line " + std::to_string(lines_before() + lines_ + 1) + ": " +
                       problem);
  }

  // Number of lines before the start of reading, only needed for errors.
  int64_t lines_before() {
    if (input_.path() == kStandardInput) return 0;
    TextInput again(input_.path(), format_);
    int64_t lines = 0;
    while (again.offset() < first_offset_) {
      const size_t wanted = size_t(std::min<int64_t>(first_offset_ - again.offset(), kChunkBytes));
      const size_t n = again.read(std::span(chunk_).first(wanted));
      if (n == 0) break;
      lines += std::count(chunk_.begin(), chunk_.begin() + std::ptrdiff_t(n), '\n');
    }
    return lines;
  }

  TextInput input_;
  InputFormat format_;
  std::vector<std::string> keys_;
  int64_t skip_;  // of the first line's text
  int64_t first_offset_ = 0, lines_ = 0;
  std::string chunk_, held_;  // held_: read but not passed on
  int64_t held_offset_ = 0;   // of held_ in the input
};

class ParquetDocuments : public DocumentReader {
 public:
  ParquetDocuments(const std::string& path, const std::string& field, const TextPosition& begin)
      : path_(path),
        texts_(open_parquet(path, field, begin.offset)),
        row_(begin.offset),
        skip_(begin.skipped) {}

  bool read(DocumentSink& sink) override {
    const auto text = texts_->next();
    if (!text) return false;
    if (size_t(skip_) > text->size())
      throw ContentError(path_ + ": row " + std::to_string(row_ + 1) +
                         ": shorter than when it was read before");
    hand_on_rest(sink, *text, skip_, row_);
    skip_ = 0;
    sink.end_document({.offset = ++row_});
    return true;
  }

  int64_t file_position(int64_t offset) const override { return texts_->file_position(offset); }

 private:
  std::string path_;
  std::unique_ptr<ParquetTexts> texts_;
  int64_t row_;   // next row to read, from 0
  int64_t skip_;  // of its text
};

}  // namespace

TextPosition before(TextPosition position, int64_t n) {
  (position.skipped > 0 ? position.skipped : position.offset) -= n;
  return position;
}

std::unique_ptr<DocumentReader> read_documents(const std::string& path, const DocumentFormat& format,
                                               const TextPosition& begin) {
  TextInput input(path, format.input);
  if (input.is_parquet()) return std::make_unique<ParquetDocuments>(path, format.field, begin);
  if (format.note && !input.remark().empty()) format.note(input.remark());
  if (input.is_jsonl())
    return std::make_unique<JsonLines>(std::move(input), format.input, format.field, begin);
  return std::make_unique<TextDocuments>(std::move(input), format.separator, begin);
}

}  // namespace saslm
