#include "data/text_units.h"

#include <algorithm>
#include <span>

#include "data/input.h"

namespace saslm {

namespace {
constexpr size_t kUnitBytes = 1 << 20;
constexpr size_t kChunkBytes = 1 << 18;
constexpr size_t kWindowBytes = 4 << 10;  // encoded in search of a cut
}  // namespace

int64_t TextUnit::bytes() const {
  int64_t sum = 0;
  for (const TextPart& part : parts) sum += int64_t(part.until - part.begin);
  return sum;
}

int64_t TextUnit::documents() const {
  return std::count_if(parts.begin(), parts.end(), [](const TextPart& part) { return part.begins_document; });
}

UnitReader::UnitReader(const Tokenizer& tokenizer, std::vector<std::string> inputs, std::string separator,
                       TextPosition begin, int64_t bytes_before)
    : encoder_(tokenizer.make_encoder()),
      inputs_(std::move(inputs)),
      separator_(std::move(separator)),
      input_(begin.input),
      bytes_before_(bytes_before - begin.offset),
      held_offset_(begin.offset),
      chunk_(kChunkBytes, '\0'),
      try_cut_at_(kUnitBytes) {
  if (begin.offset == 0) return;
  open_input();
  char before = 0;
  file_->pread_all(std::as_writable_bytes(std::span(&before, 1)), begin.offset - 1);
  at_line_start_ = before == '\n';
  file_->seek(begin.offset);
  in_document_ = begin.in_document;
  if (in_document_) unit_.parts.push_back({});
}

std::optional<TextUnit> UnitReader::next() {
  while (ready_.empty()) {
    if (!file_ && input_ == int64_t(inputs_.size())) {
      if (unit_.parts.empty()) return std::nullopt;
      finish_unit({input_, 0, false}, 0);
      break;
    }
    if (!file_) {
      open_input();
      at_line_start_ = true, held_offset_ = 0;
    }
    const int64_t n = file_->read_some(std::as_writable_bytes(std::span(chunk_)));
    held_.append(chunk_, 0, size_t(n));
    read_lines(n == 0);
    if (n > 0) continue;
    bytes_before_ += held_offset_;
    file_.reset();
    ++input_, held_offset_ = 0;
    end_document(0);
  }
  TextUnit unit = std::move(ready_.front());
  ready_.pop_front();
  return unit;
}

void UnitReader::open_input() {
  file_ = open_stream(inputs_[size_t(input_)]);
}

void UnitReader::read_lines(bool at_end) {
  const std::string_view text = held_;
  const int64_t base = held_offset_;
  size_t begin = 0, at = 0;  // of text not handed on yet, and of the line looked at
  const auto hand_on = [&](size_t end) {
    held_offset_ = base + int64_t(end);
    add_text(text.substr(begin, end - begin));
  };
  while (at < text.size()) {
    const size_t newline = text.find('\n', at);
    const bool whole = newline != std::string_view::npos || at_end;
    const std::string_view line = text.substr(at, newline - at);  // npos - at is still past the end
    if (at_line_start_ && !whole && line.size() <= separator_.size() + 1) break;
    const size_t next = newline == std::string_view::npos ? text.size() : newline + 1;
    if (at_line_start_ && whole && is_separator(line)) {
      hand_on(at);
      held_offset_ = base + int64_t(next);
      end_document(held_offset_);
      begin = next;
    }
    at_line_start_ = newline != std::string_view::npos;
    at = next;
  }
  hand_on(at);
  held_.erase(0, at);
}

bool UnitReader::is_separator(std::string_view line) const {
  if (line.ends_with('\r')) line.remove_suffix(1);  // a file with CRLF line ends
  return !separator_.empty() && line == separator_;
}

// `text` ends at held_offset_ of the input.
void UnitReader::add_text(std::string_view text) {
  if (text.empty()) return;
  if (!in_document_) unit_.parts.push_back({.begin = unit_.text.size(), .begins_document = true});
  in_document_ = true;
  unit_.text += text;
  unit_.parts.back().end = unit_.parts.back().until = unit_.text.size();
  if (unit_.text.size() >= try_cut_at_) cut_open_document();
}

// `offset` is that of what follows in the input.
void UnitReader::end_document(int64_t offset) {
  in_document_ = false;
  if (unit_.text.size() >= kUnitBytes) finish_unit({input_, offset, false}, offset);
}

void UnitReader::cut_open_document() {
  TextPart& part = unit_.parts.back();
  const std::string& text = unit_.text;
  size_t window = text.size() - std::min(kWindowBytes, text.size() - part.begin);
  while (window < text.size() && (uint8_t(text[window]) & 0xc0) == 0x80) ++window;
  ids_.clear();
  const size_t cut =
      window + encoder_->encode(std::string_view(text).substr(window), std::string_view::npos, true, ids_);
  if (cut == window) {  // a long word: the unit grows
    try_cut_at_ = text.size() + kChunkBytes;
    return;
  }
  part.until = cut, part.open = true;
  std::string rest = text.substr(cut);
  const int64_t offset = held_offset_ - int64_t(rest.size());
  finish_unit({input_, offset, true}, offset);
  unit_.parts.push_back({.begin = 0, .end = rest.size(), .until = rest.size()});
  unit_.text = std::move(rest);
}

void UnitReader::finish_unit(TextPosition next, int64_t offset) {
  unit_.next = next;
  unit_.bytes_read = bytes_before_ + offset;
  ready_.push_back(std::exchange(unit_, {}));
  try_cut_at_ = kUnitBytes;
}

}  // namespace saslm
