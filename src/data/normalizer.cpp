#include "data/normalizer.h"

#include <algorithm>

#include "data/utf8.h"

namespace saslm {

namespace {

constexpr std::string_view kMark = kSpaceMark;

std::string marks_replaced(std::string_view text, TextEdits& edits) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t mark = std::min(text.find(kMark, at), text.size());
    out += text.substr(at, mark - at);
    if (mark < text.size()) {
      edits.replaced(mark, kMark.size(), out.size(), 1);
      out += ' ';
    }
    at = mark + kMark.size();
  }
  return out;
}

}  // namespace

NormalizedText::NormalizedText(const BpeStages& stages, std::string_view text, bool space_before)
    : view_(text) {
  const auto changed = [&](std::string to) {
    copy_ = std::move(to);
    view_ = copy_;
  };
  if (stages.marks_replaced && text.find(kMark) != text.npos) changed(marks_replaced(view_, marks_));
  if (stages.nfc && !nfc::is_normal(view_)) changed(nfc::normalized(view_, nfc_));
  if (space_before && !text.empty()) {
    put_before_ = 1;
    changed(" " + std::string(view_));
  }
}

size_t NormalizedText::old_offset(size_t at) const {
  if (at < put_before_) return at == 0 ? 0 : TextEdits::kNone;
  const size_t before_nfc = nfc_.old_offset(at - put_before_);
  return before_nfc == TextEdits::kNone ? before_nfc : marks_.old_offset(before_nfc);
}

size_t certainly_normalized(const BpeStages& stages, std::string_view text) {
  if (!stages.nfc) return text.size();
  for (size_t at = text.size(); at > 0;) {
    do --at;
    while (at > 0 && (uint8_t(text[at]) & 0xc0) == 0x80);
    if (normal_boundary(stages, text, at)) return at;
  }
  return 0;
}

bool normal_boundary(const BpeStages& stages, std::string_view text, size_t at) {
  if (!stages.nfc || at == 0 || at >= text.size()) return true;
  return nfc::boundary_before(next_character(text, at));
}

}  // namespace saslm
