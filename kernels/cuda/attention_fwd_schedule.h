// The forward scheduler of attention: which work tile a thread block takes. A work tile is one tile of
// queries of one head; thread block i takes work tile i of this order:
//
//   sections of heads     as many as have their keys and values in the L2 cache together
//   in each, query tiles  from the last, which sees the most keys, to the first: the longest work first (LPT)
//   for each, heads       of the section in turn
//
// Example: 5 heads, sections of 2, 3 query tiles; (head, query tile) of blocks 0, 1, 2, ...:
//   (0,2) (1,2) (0,1) (1,1) (0,0) (1,0)   (2,2) (3,2) (2,1) (3,1) (2,0) (3,0)   (4,2) (4,1) (4,0)
#pragma once
#include <algorithm>
#include <cstdint>

namespace saslm {

struct AttentionFwdSchedule {
  static constexpr int64_t kSectionBytes = 24 << 20;  // half the cache of an H100; less than that of an A100

  int heads, query_tiles, section_heads;  // of all sequences (B*H); of a head; of a section but the last

  // kv_bytes: the keys and values that one head reads.
  constexpr AttentionFwdSchedule(int64_t head_count, int64_t query_tiles_per_head, int64_t kv_bytes)
      : heads(int(head_count)),
        query_tiles(int(query_tiles_per_head)),
        section_heads(int(std::clamp(kSectionBytes / kv_bytes, int64_t(1), head_count))) {}
  constexpr int64_t thread_blocks() const { return int64_t(heads) * query_tiles; }
  constexpr int head(int block) const {
    return section_first_head(block) + index_in_section(block) % heads_in_section(block);
  }
  constexpr int query_tile(int block) const {
    return query_tiles - 1 - index_in_section(block) / heads_in_section(block);
  }

 private:
  constexpr int section_first_head(int block) const {
    return block / (section_heads * query_tiles) * section_heads;
  }
  constexpr int index_in_section(int block) const { return block % (section_heads * query_tiles); }
  constexpr int heads_in_section(int block) const {
    return std::min(section_heads, heads - section_first_head(block));
  }
};

}  // namespace saslm
