#include "data/text_units.h"

#include <algorithm>
#include <filesystem>
#include <utility>

namespace saslm {

namespace {
constexpr size_t kUnitBytes = 1 << 20;
constexpr size_t kGrowthBytes = 1 << 18;
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

UnitReader::UnitReader(const Tokenizer& tokenizer, std::vector<std::string> inputs, DocumentFormat format,
                       TextPosition begin)
    : encoder_(tokenizer.make_encoder()),
      inputs_(std::move(inputs)),
      format_(std::move(format)),
      input_(begin.input),
      try_cut_at_(kUnitBytes) {
  std::error_code unknown;
  for (int64_t i = 0; i < std::min(input_, int64_t(inputs_.size())); ++i)
    bytes_before_ += int64_t(std::filesystem::file_size(inputs_[size_t(i)], unknown));
  if (begin.offset == 0 && begin.skipped == 0) return;
  open_input(begin);
  in_document_ = begin.in_document;
  if (in_document_) unit_.parts.push_back({});
}

std::optional<TextUnit> UnitReader::next() {
  while (ready_.empty()) {
    if (!documents_ && input_ == int64_t(inputs_.size())) {
      if (unit_.parts.empty()) return std::nullopt;
      finish_unit({.input = input_});
      break;
    }
    if (!documents_) open_input({.input = input_});
    if (documents_->read(*this)) continue;
    bytes_before_ += documents_->file_position(offset_);
    documents_.reset();
    ++input_, offset_ = 0;
    end_document({});
  }
  TextUnit unit = std::move(ready_.front());
  ready_.pop_front();
  return unit;
}

void UnitReader::open_input(const TextPosition& begin) {
  documents_ = read_documents(inputs_[size_t(input_)], format_, begin);
  offset_ = begin.offset;
}

void UnitReader::add_text(std::string_view text, const TextPosition& end) {
  if (!in_document_) unit_.parts.push_back({.begin = unit_.text.size(), .begins_document = true});
  in_document_ = true;
  offset_ = end.offset;
  unit_.text += text;
  unit_.parts.back().end = unit_.parts.back().until = unit_.text.size();
  if (unit_.text.size() >= try_cut_at_) cut_open_document(end);
}

void UnitReader::end_document(const TextPosition& next) {
  in_document_ = false;
  offset_ = next.offset;
  if (unit_.text.size() >= kUnitBytes) finish_unit(next);
}

void UnitReader::cut_open_document(const TextPosition& end) {
  TextPart& part = unit_.parts.back();
  const std::string& text = unit_.text;
  size_t window = text.size() - std::min(kWindowBytes, text.size() - part.begin);
  while (window < text.size() && (uint8_t(text[window]) & 0xc0) == 0x80) ++window;
  ids_.clear();
  const size_t cut =
      window + encoder_->encode(std::string_view(text).substr(window), std::string_view::npos, true, ids_);
  if (cut == window) {  // a long word: the unit grows
    try_cut_at_ = text.size() + kGrowthBytes;
    return;
  }
  part.until = cut, part.open = true;
  std::string rest = text.substr(cut);
  finish_unit(before(end, int64_t(rest.size())));
  unit_.parts.push_back({.begin = 0, .end = rest.size(), .until = rest.size()});
  unit_.text = std::move(rest);
}

void UnitReader::finish_unit(TextPosition next) {
  next.input = input_;
  unit_.next = next;
  unit_.bytes_read = bytes_before_ + (documents_ ? documents_->file_position(next.offset) : 0);
  ready_.push_back(std::exchange(unit_, {}));
  try_cut_at_ = kUnitBytes;
}

}  // namespace saslm
