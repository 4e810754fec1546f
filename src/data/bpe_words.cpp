#include "data/bpe_words.h"

#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/error.h"
#include "data/utf8.h"

namespace saslm {

namespace {
constexpr size_t kSlots = size_t(1) << 15;
constexpr size_t kShort = 64;  // bytes; up to here, scanning all pairs is faster than a heap
constexpr uint32_t kEnd = UINT32_MAX;
}  // namespace

MergeTable::MergeTable(const std::vector<BpeMerge>& merges) {
  const size_t size = std::bit_ceil(std::max<size_t>(merges.size(), 8) * 2);
  slots_.resize(size);
  mask_ = size - 1;
  shift_ = 64 - std::countr_zero(size);
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const BpeMerge& merge = merges[rank];
    const uint64_t key = key_of(merge.left, merge.right);
    size_t slot = first_slot(key);
    while (slots_[slot].key != kEmpty && slots_[slot].key != key) slot = (slot + 1) & mask_;
    slots_[slot] = {key, {uint32_t(rank), merge.merged}};  // of a repeated merge the last one counts
  }
}

BpeWords::BpeWords(const BpeFile& file)
    : byte_ids(file.byte_ids),
      of_characters(file.stages.characters),
      spaces_marked(file.stages.spaces_marked),
      merges(file.merges) {
  for (size_t id = 0; id < file.words.size(); ++id) {
    const std::string& word = file.words[id];
    if (!file.spelled[id]) continue;
    if (file.ignore_merges) whole[word] = int32_t(id);
    if (!of_characters) continue;
    size_t at = 0;
    const char32_t c = next_character(word, at);
    if (at == word.size()) character_ids[c] = int32_t(id);
  }
  if (!file.ignore_merges || !of_characters) return;
  for (int byte = 0; byte < 256; ++byte) whole[byte_fallback_word(byte)] = byte_ids[size_t(byte)];
}

int32_t BpeWords::find_whole(std::string_view piece) const {
  if (whole.empty()) return -1;
  std::string word(piece);
  if (spaces_marked) word = spaces_for_marks(word);
  const auto it = whole.find(word);
  return it == whole.end() ? -1 : it->second;
}

void BpeWords::append_characters(std::string_view piece, std::vector<int32_t>& ids) const {
  for (size_t at = 0; at < piece.size();) {
    const size_t begin = at;
    const char32_t c = next_character(piece, at);
    const auto it = character_ids.find(spaces_marked && c == kSpaceMarkCharacter ? U' ' : c);
    if (it != character_ids.end()) {
      ids.push_back(it->second);
    } else {
      for (size_t i = begin; i < at; ++i) ids.push_back(byte_ids[uint8_t(piece[i])]);
    }
  }
}

WordEncoder::WordEncoder(const BpeWords& words) : words_(words), seen_(kSlots) {}

void WordEncoder::encode(std::string_view piece, std::vector<int32_t>& ids) {
  Slot& slot = seen_[XXH3_64bits(piece.data(), piece.size()) % kSlots];
  if (slot.n_bytes == piece.size() && std::memcmp(slot.bytes, piece.data(), piece.size()) == 0) {
    ids.insert(ids.end(), slot.ids, slot.ids + slot.n_ids);
    return;
  }
  const size_t before = ids.size();
  if (const int32_t id = words_.find_whole(piece); id >= 0) {
    ids.push_back(id);
  } else {
    merge(piece, ids);
  }
  const size_t n_ids = ids.size() - before;
  if (piece.size() > sizeof slot.bytes || n_ids > std::size(slot.ids)) return;
  slot.n_bytes = uint8_t(piece.size()), slot.n_ids = uint8_t(n_ids);
  std::memcpy(slot.bytes, piece.data(), piece.size());
  std::copy_n(&ids[before], n_ids, slot.ids);
}

void WordEncoder::merge(std::string_view piece, std::vector<int32_t>& ids) {
  if (piece.size() > kMaxPieceBytes)
    throw DataError("the text has a piece of more than " + std::to_string(kMaxPieceBytes) +
                    " bytes that the tokenizer does not split, starting with \"" +
                    std::string(piece.substr(0, 40)) + "\"; is this text?");
  const size_t begin = ids.size();
  if (words_.of_characters) {
    words_.append_characters(piece, ids);
  } else {
    for (const char byte : piece) ids.push_back(words_.byte_ids[uint8_t(byte)]);
  }
  if (piece.size() <= kShort) return merge_short(ids, begin);

  symbols_.clear(), heap_.clear();
  for (size_t i = begin; i < ids.size(); ++i) {
    const uint32_t at = uint32_t(i - begin);
    symbols_.push_back({ids[i], at == 0 ? kEnd : at - 1, i + 1 == ids.size() ? kEnd : at + 1});
  }
  for (uint32_t at = 0; at + 1 < symbols_.size(); ++at) propose(at);
  const auto later = [](const Candidate& a, const Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.at > b.at;
  };
  std::make_heap(heap_.begin(), heap_.end(), later);
  while (!heap_.empty()) {
    std::pop_heap(heap_.begin(), heap_.end(), later);
    const Candidate best = heap_.back();
    heap_.pop_back();
    Symbol& left = symbols_[best.at];
    if (left.id < 0 || left.next == kEnd) continue;
    Symbol& right = symbols_[left.next];
    if (words_.merges.find(left.id, right.id).rank != best.rank)
      continue;  // one of the two has changed meanwhile
    left.id = best.merged, left.next = right.next, right.id = -1;
    if (left.next != kEnd) symbols_[left.next].previous = best.at;
    for (const uint32_t at : {left.previous, best.at}) {
      const size_t size = heap_.size();
      propose(at);
      if (heap_.size() > size) std::push_heap(heap_.begin(), heap_.end(), later);
    }
  }
  ids.resize(begin);
  for (const Symbol& symbol : symbols_)
    if (symbol.id >= 0) ids.push_back(symbol.id);
}

void WordEncoder::propose(uint32_t at) {
  if (at == kEnd || symbols_[at].next == kEnd) return;
  const MergeTable::Merge merge = words_.merges.find(symbols_[at].id, symbols_[symbols_[at].next].id);
  if (merge.rank != MergeTable::kNone) heap_.push_back({merge.rank, at, merge.merged});
}

// The same in place: pairs_[i] is the merge of symbols i and i + 1 of ids, counted from `begin`.
void WordEncoder::merge_short(std::vector<int32_t>& ids, size_t begin) {
  int32_t* symbols = &ids[begin];
  size_t n = ids.size() - begin;
  pairs_.resize(n);
  for (size_t i = 0; i + 1 < n; ++i) pairs_[i] = words_.merges.find(symbols[i], symbols[i + 1]);
  while (n > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < n; ++i)
      if (pairs_[i].rank < pairs_[best].rank) best = i;
    if (pairs_[best].rank == MergeTable::kNone) break;
    symbols[best] = pairs_[best].merged;
    --n;
    std::copy(symbols + best + 2, symbols + n + 1, symbols + best + 1);
    if (best + 2 < n) std::copy(&pairs_[best + 2], &pairs_[n], &pairs_[best + 1]);
    if (best > 0) pairs_[best - 1] = words_.merges.find(symbols[best - 1], symbols[best]);
    if (best + 1 < n) pairs_[best] = words_.merges.find(symbols[best], symbols[best + 1]);
  }
  ids.resize(begin + n);
}

}  // namespace saslm
