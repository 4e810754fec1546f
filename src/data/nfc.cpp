#include "data/nfc.h"

#include <unicode/bytestream.h>
#include <unicode/edits.h>
#include <unicode/normalizer2.h>
#include <unicode/uniset.h>

#include <algorithm>
#include <memory>

#include "core/error.h"

namespace saslm {

size_t TextEdits::old_offset(size_t at) const {
  const auto after = std::upper_bound(edits_.begin(), edits_.end(), at, [](size_t offset, const Edit& edit) {
    return offset < edit.new_begin;
  });
  if (after == edits_.begin()) return at;
  const Edit& edit = *std::prev(after);
  if (at == edit.new_begin) return edit.old_begin;
  return at < edit.new_end ? kNone : edit.old_end + (at - edit.new_end);
}

namespace nfc {

namespace {

void check(UErrorCode status) {
  if (U_FAILURE(status)) throw IoError(std::string("ICU, which normalizes text: ") + u_errorName(status));
}

// The characters of Unicode 9, whose normal forms never change.
std::unique_ptr<icu::UnicodeSet> known_characters() {
  UErrorCode status = U_ZERO_ERROR;
  auto set = std::make_unique<icu::UnicodeSet>(icu::UnicodeString(u"[:age=9.0:]"), status);
  check(status);
  set->freeze();
  return set;
}

const icu::Normalizer2& all_of_nfc() {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* nfc = icu::Normalizer2::getNFCInstance(status);
  check(status);
  return *nfc;
}

const icu::Normalizer2& normalizer() {
  static const std::unique_ptr<icu::UnicodeSet> set = known_characters();
  static const icu::FilteredNormalizer2 filtered(all_of_nfc(), *set);
  return filtered;
}

icu::StringPiece piece(std::string_view text) {
  if (text.size() > INT32_MAX)
    throw DataError("the tokenizer normalizes at most 2 GiB of text between two added tokens; got " +
                    std::to_string(text.size()) + " bytes");
  return {text.data(), int32_t(text.size())};
}

}  // namespace

bool boundary_before(char32_t c) {
  return c < 0x300 || normalizer().hasBoundaryBefore(UChar32(c));
}

bool is_normal(std::string_view text) {
  if (std::all_of(text.begin(), text.end(), [](char c) { return uint8_t(c) < 0x80; })) return true;
  UErrorCode status = U_ZERO_ERROR;
  const bool normal = normalizer().isNormalizedUTF8(piece(text), status) != 0;
  check(status);
  return normal;
}

std::string normalized(std::string_view text, TextEdits& edits) {
  std::string out;
  icu::StringByteSink<std::string> sink(&out, int32_t(text.size()));
  icu::Edits changes;
  UErrorCode status = U_ZERO_ERROR;
  normalizer().normalizeUTF8(0, piece(text), sink, &changes, status);
  check(status);
  for (auto change = changes.getCoarseChangesIterator(); change.next(status) != 0;)
    edits.replaced(size_t(change.sourceIndex()), size_t(change.oldLength()),
                   size_t(change.destinationIndex()), size_t(change.newLength()));
  check(status);
  return out;
}

}  // namespace nfc

}  // namespace saslm
