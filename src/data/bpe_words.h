// Byte-pair encoding of one piece of text.
//
//   ids = the ids of the piece's bytes; in character BPE those of its characters, and of the bytes of unknown
//   characters. While two neighbours have a merge, the merge of lowest rank (ties: the leftmost) is applied.
//
// Sennrich, Haddow & Birch 2016; on bytes: Radford et al. 2019.
//
// Cost: O(n log n) for a piece of n bytes, of any length.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/bpe_file.h"

namespace saslm {

// (left id, right id) -> rank and merged id: open addressing, a quarter to half full.
class MergeTable {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  struct Merge {
    uint32_t rank = kNone;
    int32_t merged = 0;
  };

  explicit MergeTable(const std::vector<BpeMerge>& merges);

  Merge find(int32_t left, int32_t right) const {
    const uint64_t key = key_of(left, right);
    for (size_t slot = first_slot(key);; slot = (slot + 1) & mask_) {
      if (slots_[slot].key == key) return slots_[slot].merge;
      if (slots_[slot].key == kEmpty) return {};
    }
  }

 private:
  static constexpr uint64_t kEmpty = UINT64_MAX;  // ids are not negative
  struct Slot {
    uint64_t key = kEmpty;
    Merge merge;
  };

  static uint64_t key_of(int32_t left, int32_t right) { return uint64_t(left) << 32 | uint32_t(right); }
  size_t first_slot(uint64_t key) const { return size_t(key * 0x9e3779b97f4a7c15 >> shift_); }

  std::vector<Slot> slots_;
  size_t mask_;
  int shift_;
};

struct BpeWords {  // shared by all threads
  explicit BpeWords(const BpeFile& file);

  // The id of a piece that is itself a token (ignore_merges); else -1.
  int32_t find_whole(std::string_view piece) const;
  void append_characters(std::string_view piece, std::vector<int32_t>& ids) const;

  std::array<int32_t, 256> byte_ids;
  bool of_characters, spaces_marked;
  std::unordered_map<char32_t, int32_t> character_ids;  // of single-character tokens
  MergeTable merges;
  std::unordered_map<std::string, int32_t> whole;  // with ignore_merges: every token; else empty
};

class WordEncoder {  // for one thread: caches recent pieces, in 4 MiB
 public:
  // Longer pieces are a DataError: merging needs about 30 bytes of memory per byte.
  static constexpr size_t kMaxPieceBytes = 256 << 20;

  explicit WordEncoder(const BpeWords& words);

  void encode(std::string_view piece, std::vector<int32_t>& ids);  // appends

 private:
  struct Slot {  // 128 bytes, two cache lines
    uint8_t n_bytes = 0, n_ids = 0;
    char bytes[46];
    int32_t ids[20];
  };
  struct Symbol {
    int32_t id;  // -1: merged into the previous one
    uint32_t previous, next;
  };
  struct Candidate {
    uint32_t rank, at;  // of the left symbol of the two
    int32_t merged;
  };

  void merge(std::string_view piece, std::vector<int32_t>& ids);
  void merge_short(std::vector<int32_t>& ids, size_t begin);
  void propose(uint32_t at);

  const BpeWords& words_;
  std::vector<Slot> seen_;
  std::vector<Symbol> symbols_;
  std::vector<Candidate> heap_;
  std::vector<MergeTable::Merge> pairs_;
};

}  // namespace saslm
