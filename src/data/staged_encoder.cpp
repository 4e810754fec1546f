#include "data/staged_encoder.h"

#include <algorithm>

#include "data/utf8.h"

namespace saslm {

namespace {
constexpr size_t kNone = TextEdits::kNone;

// Start of the character that contains `at`; the end of the text counts as a start.
size_t character_begin(std::string_view text, size_t at) {
  while (at < text.size() && at > 0 && (uint8_t(text[at]) & 0xc0) == 0x80) --at;
  return at;
}
}  // namespace

StagedEncoder::StagedEncoder(const BpeParts& parts)
    : parts_(parts), stages_(parts.file.stages), splitter_(parts.patterns), words_(parts.words) {}

size_t StagedEncoder::encode(std::string_view text, size_t until, bool open, std::vector<int32_t>& ids) {
  Progress progress{text, until, ids};
  progress.cut_at(0);
  Before before = Before::nothing;
  for (size_t at = 0; at < text.size() && !progress.done();) {
    const AddedTokens::Match token = parts_.added.find_raw(text, at, open);
    if (!encode_segment(at, token.begin, before, open && token.id < 0, progress)) break;
    progress.cut_at(token.begin);  // before a token, or at the end
    if (token.id < 0 || progress.done()) break;
    ids.push_back(token.id);
    at = token.end, before = Before::token;
    if (at == text.size() && !open) progress.cut_at(at);
  }
  ids.resize(progress.ids_at_cut);
  return progress.cut;
}

bool StagedEncoder::encode_segment(size_t at, size_t end, Before before, bool open, Progress& progress) {
  const std::string_view text = progress.text.substr(0, end);
  while (at < end) {
    const Utf8Run found = utf8_run(text, at);
    const bool grows = open && (found.end == end || found.cut);
    std::string_view raw = text.substr(at, found.end - at);
    if (grows) raw = raw.substr(0, certainly_normalized(stages_, raw));
    const bool space = stages_.prefix == SpacePrefix::segment && before != Before::stray_byte;
    const NormalizedText normal(stages_, raw, space);
    if (!encode_run({raw, at, before, grows, normal}, progress) || grows) return false;
    at = found.end;
    if (at == end) return true;
    progress.cut_at(at);
    if (progress.done()) return false;
    progress.ids.push_back(parts_.file.byte_ids[uint8_t(text[at++])]);
    before = Before::stray_byte;
  }
  // After a stray byte at the segment's end comes a token or the end: a cut, which the caller records.
  return !open;
}

bool StagedEncoder::encode_run(const Run& run, Progress& progress) {
  const std::string_view text = run.normal.view();
  bool behind_token = run.before == Before::token;
  for (size_t at = 0; at < text.size();) {
    try_cut(run, at, behind_token, progress);
    if (progress.done()) return false;
    const AddedTokens::Match token = parts_.added.find_normalized(text, at, run.open);
    const size_t end = token.id < 0 ? character_begin(text, token.begin) : token.begin;
    if (!encode_piece(run, at, end, run.open && token.id < 0, progress)) return false;
    if (token.id < 0) return true;
    progress.ids.push_back(token.id);
    at = token.end;
    behind_token = stages_.prefix != SpacePrefix::segment;
  }
  return true;
}

bool StagedEncoder::encode_piece(const Run& run, size_t begin, size_t end, bool open, Progress& progress) {
  std::string_view text = run.normal.view().substr(begin, end - begin);
  std::string copy;
  const size_t space = wants_space(run, text, begin) ? 1 : 0;
  if (space > 0) text = copy = " " + std::string(text);
  const auto encode = [&](std::string_view piece, bool cut) {
    words_.encode(piece, progress.ids);
    const size_t at = size_t(piece.data() + piece.size() - text.data());
    if (cut && at > space) try_cut(run, begin + at - space, false, progress);
  };
  // First as far as wanted; then, if that was not a cut, further in growing steps.
  size_t step = progress.until - std::min(progress.until - 1, run.offset + begin);
  for (size_t at = 0; at<text.size(); step = step> text.size() ? step : step * 2) {
    const size_t used = split(text.substr(at), open, step, encode);
    at += used;
    if (progress.done() || used == 0) return false;
  }
  return true;
}

template <class Emit>
size_t StagedEncoder::split(std::string_view text, bool open, size_t until, Emit&& emit) {
  if (!stages_.characters) return splitter_.split(text, open, until, emit);
  if (stages_.steps.empty()) return parts_.characters.split(text, open, until, emit);
  return splitter_.split(text, open, until, [&](std::string_view piece, bool cut) {
    const char* end = piece.data() + piece.size();
    parts_.characters.split(piece, false, piece.size(), [&](std::string_view part, bool) {
      emit(part, cut && part.data() + part.size() == end);
    });
  });
}

bool StagedEncoder::starts_with_space(std::string_view text) const {
  return text.starts_with(' ') || (stages_.spaces_marked && text.starts_with(kSpaceMark));
}

bool StagedEncoder::wants_space(const Run& run, std::string_view piece, size_t begin) const {
  if (piece.empty() || starts_with_space(piece)) return false;
  if (stages_.prefix == SpacePrefix::piece) return begin > 0 || run.before != Before::stray_byte;
  return stages_.prefix == SpacePrefix::first && begin == 0 && run.before == Before::nothing;
}

void StagedEncoder::try_cut(const Run& run, size_t at, bool behind_token, Progress& progress) const {
  if (progress.done()) return;
  size_t offset = kNone;
  if (stages_.prefix == SpacePrefix::none || (behind_token && stages_.prefix != SpacePrefix::first)) {
    offset = at == 0 ? 0 : run.normal.old_offset(at);
  } else {
    offset = cut_before_space(run, at);
  }
  if (offset != kNone && normal_boundary(stages_, run.raw, offset)) progress.cut_at(run.offset + offset);
}

size_t StagedEncoder::cut_before_space(const Run& run, size_t at) const {
  size_t offset = run.normal.old_offset(at);
  if (offset == kNone || offset >= run.raw.size() || !starts_with_space(run.raw.substr(offset))) return kNone;
  if (stages_.prefix != SpacePrefix::segment) return offset;
  // The space inserted at the front does not belong to the text.
  if (at == 0 && run.before != Before::stray_byte) return kNone;
  offset += run.raw[offset] == ' ' ? 1 : std::string_view(kSpaceMark).size();
  return offset < run.raw.size() ? offset : kNone;
}

}  // namespace saslm
