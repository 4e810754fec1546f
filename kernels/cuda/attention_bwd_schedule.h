// The backward scheduler of attention: which work tiles a thread block takes, and where their sums lie in
// scratch. A function of the shape alone, so that results do not depend on the card.
//
//   head group  query heads of one sequence that read the same v head, and either the same k head or a k head
//               each. Their dV (and dK) are one sum.
//   head chunk  a group, or an even share of its heads where the groups are fewer than kTargetTiles. One
//               thread block takes the heads of a chunk in turn and adds their dK and dV up in one float
//               partial.
//   work tile   a chunk, or one of `splits` of it where chunks of one head each are still too few: split s
//               takes key blocks n-1-s, n-1-s-splits, ... of n. This is split-k: dQ sums over keys, and a
//               further kernel adds up the dQ of all splits. A split has two key blocks or more.
//
// Thread block i of the grid takes work tiles i, i + thread_blocks(), ... (persistent blocks).
//
// Examples, T = 1024 (8 key blocks):
//   GQA   B = 1, H = 12, Gk = Gv = 4            4 groups of 3 heads, each cut into 3 chunks: 12 chunks; 4
//                                               splits: 48 work tiles
//   SAS   B = 8, H = Gk = 36, Gv = modulo = 12  96 groups of 3 heads (h, h + 12, h + 24), each cut into 2
//                                               chunks, of 1 and 2 heads: 192 work tiles
#pragma once
#include <algorithm>
#include <cstdint>
#include <numeric>

#include "core/dims.h"
#include "kernels/attention.h"
#include "kernels/cuda/attention_tiles.h"

namespace saslm {

struct AttentionBwdSchedule {
  static constexpr int64_t kTargetTiles = 128;  // a GPU has 108 (A100) or 132 (H100, H200) multiprocessors
  // Each thread block has a dQ in scratch, so they are few: two for each multiprocessor of an H200, or one
  // where the dQ is that of a long sequence.
  static constexpr int64_t kMaxThreadBlocks = 264, kLongSequence = 8192;
  static constexpr int64_t kQueryPadding = 64;  // {lse, delta} and dQ have whole blocks of so many queries

  int64_t B = 0, T = 0, H = 0, Gk = 0, Gv = 0, modulo = 0, E = 0, D = 0;  // modulo: of AttentionHeads
  int64_t keys = kAttentionBwdKeys;          // of a key block of the kernel that runs
  bool own_k = false;                        // the heads of a group read a k head each
  int64_t group_heads = 0, head_stride = 0;  // query heads of a group, and from one to the next
  int64_t group_chunks = 0;                  // chunks that a group is cut into
  int64_t sequence_chunks = 0, chunks = 0;   // of one sequence; of all
  int64_t splits = 0, work_tiles = 0;        // of a chunk; of all

  constexpr AttentionBwdSchedule() = default;
  constexpr explicit AttentionBwdSchedule(const AttentionShape& s, int64_t keys_of_block = kAttentionBwdKeys)
      : B(s.B),
        T(s.T),
        H(s.H),
        Gk(s.Gk),
        Gv(s.Gv),
        modulo(AttentionHeads(s.H, s.Gk, s.Gv, s.v_modulo).modulo),
        E(s.E),
        D(s.D),
        keys(keys_of_block),
        own_k(s.Gk == s.H) {
    group_heads = own_k ? H / modulo : std::gcd(H / Gk, modulo / Gv);
    head_stride = own_k ? modulo : 1;
    const int64_t sequence_groups = H / group_heads, most_splits = ceil_div(T, kAttentionBwdKeys) / 2;
    group_chunks = std::min(group_heads, ceil_div(kTargetTiles, B * sequence_groups));
    sequence_chunks = sequence_groups * group_chunks;
    chunks = B * sequence_chunks;
    splits = std::clamp(kTargetTiles / chunks, int64_t(1), std::max(int64_t(1), most_splits));
    work_tiles = chunks * splits;
  }

  constexpr int64_t thread_blocks() const {
    return std::min(work_tiles, T <= kLongSequence ? kMaxThreadBlocks : kMaxThreadBlocks / 2);
  }

  // Work tile w is split w % splits of chunk w / splits. It begins with the key block whose first key this is
  // and goes to the left, key_step() keys at a time.
  constexpr int first_key(int work_tile) const {
    return int((ceil_div(T, keys) - 1 - work_tile % splits) * keys);
  }
  constexpr int key_step() const { return int(splits * keys); }

  // The query heads of chunk c of a sequence: first_head(c) + i * head_stride, i = 0 .. head_count(c) - 1.
  constexpr int64_t first_head(int64_t c) const {
    return c / group_chunks * (own_k ? 1 : group_heads) +
           c % group_chunks * group_heads / group_chunks * head_stride;
  }
  constexpr int64_t head_count(int64_t c) const {
    return (c % group_chunks + 1) * group_heads / group_chunks -
           c % group_chunks * group_heads / group_chunks;
  }

  // The chunks of a sequence whose partials make up dk or dv of head g: chunk(g, i), i = 0 .. count() - 1,
  // ascending. Query heads read the v heads from the first one on again after every `modulo`: the chunks of
  // one v head lie in `periods` runs of `run` chunks, `period` apart.
  struct Partials {
    int64_t periods, period, run;

    constexpr int64_t count() const { return periods * run; }
    constexpr int64_t chunk(int64_t g, int64_t i) const { return i / run * period + g * run + i % run; }
  };
  constexpr Partials dk_partials() const { return {1, sequence_chunks, sequence_chunks / Gk}; }
  constexpr Partials dv_partials() const {
    const int64_t period = own_k ? sequence_chunks : sequence_chunks / (H / modulo);
    return {sequence_chunks / period, period, period / Gv};
  }

  // Scratch, in floats, one after the other:
  //   statistics  (B, H, padded_queries(), 2)               {lse log2 e, delta} of every query
  //   dq          (thread_blocks(), padded_queries(), E')   of the head that a block works on, in the order
  //                                                         of fragments; E' is E padded to kAttentionWidths
  //   dk, dv      (chunks, T, E or D)                       partials of every chunk, where heads share k, v
  constexpr int64_t padded_queries() const { return round_up(T, kQueryPadding); }
  constexpr int64_t statistics_floats() const { return 2 * B * H * padded_queries(); }
  constexpr int64_t dq_floats_of_block() const {
    const size_t i = attention_widths_index(E, D);
    return i < kAttentionWidths.size() ? padded_queries() * kAttentionWidths[i].E : 0;
  }
  constexpr bool on_tensor_cores() const { return dq_floats_of_block() > 0; }
  constexpr int64_t dq_floats() const { return thread_blocks() * dq_floats_of_block(); }
  constexpr int64_t dk_floats() const { return on_tensor_cores() && Gk < H ? chunks * T * E : 0; }
  constexpr int64_t dv_floats() const { return on_tensor_cores() && Gv < H ? chunks * T * D : 0; }
  constexpr int64_t scratch_floats() const {
    return statistics_floats() + dq_floats() + dk_floats() + dv_floats();
  }
};

}  // namespace saslm
