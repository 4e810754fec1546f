// The tiles of attention's tensor-core kernels: the head widths they are compiled for, the queries and keys
// of a tile, and the shared memory of a thread block. All of it follows from the widths alone.
//
//   E, D     features of a row of q and k, and of v and dy
//   forward  attention_fwd.cu: a block holds 128 queries and walks over the keys, a tile of them at a time
//   backward attention_bwd.cu: a block holds 128 keys (the narrow tile: 64) and walks over the queries
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace saslm {

struct AttentionWidths {
  int E, D;
};
// Other widths are padded with zeros to the first pair that holds them. Wider heads take the kernels of
// attention_fp32.cu, which know any width but no tensor cores.
constexpr std::array<AttentionWidths, 5> kAttentionWidths{
    {{64, 64}, {96, 64}, {96, 96}, {128, 128}, {192, 128}}};
// The index of the first pair that holds (E, D); size() when none does.
constexpr size_t attention_widths_index(int64_t E, int64_t D) {
  size_t i = 0;
  while (i < kAttentionWidths.size() && (E > kAttentionWidths[i].E || D > kAttentionWidths[i].D)) ++i;
  return i;
}

// Forward. Keys of a tile: as many as registers have room for.
constexpr int kAttentionFwdQueries = 128;
constexpr int attention_fwd_keys(int64_t D) {
  return D <= 96 ? 64 : 32;
}
// One tile of queries, two stages of keys and values, the work tile, and the mask's edges of four warps.
constexpr size_t attention_fwd_shared_bytes(int64_t E, int64_t D) {
  return size_t(2 * (kAttentionFwdQueries * E + 2 * attention_fwd_keys(D) * (E + D)) + 16 + 4 * 8);
}

// Backward. Keys of a key block, and of the narrow one.
constexpr int kAttentionBwdKeys = 128, kAttentionBwdNarrowKeys = 64;
// Queries of a tile, beside so many keys.
constexpr int attention_bwd_queries(int64_t E, int64_t keys) {
  return (E <= 96 ? 64 : 32) / (keys == kAttentionBwdKeys ? 1 : 2);
}
// One block of keys and values, two stages of queries and dy with their {lse, delta}, dS, the head's task and
// the mask's edges.
constexpr size_t kAttentionBwdTaskBytes = 248 + 8;
constexpr size_t attention_bwd_shared_bytes(int64_t E, int64_t D, int64_t keys) {
  const int64_t queries = attention_bwd_queries(E, keys);
  return size_t(2 * (keys * (E + D) + 2 * queries * (E + D) + keys * queries) + 16 * queries) +
         kAttentionBwdTaskBytes;
}
// Whether a narrow tile is compiled: where the whole one does not fit the 99 KiB of sm_86, 89 and 120.
constexpr bool attention_bwd_has_narrow(const AttentionWidths& w) {
  return attention_bwd_shared_bytes(w.E, w.D, kAttentionBwdKeys) > 99 * 1024;
}
// Whether the tile also loads rows that begin on 4 bytes but not on 16. Beside 128 keys of (96, 96) or (192,
// 128) registers have no room for both ways of loading; such rows take the narrow tile.
constexpr bool attention_bwd_takes_words(const AttentionWidths& w, int64_t keys) {
  return keys < kAttentionBwdKeys || !((w.E == 96 && w.D == 96) || (w.E == 192 && w.D == 128));
}

// The kernels for any width: each of 4 warps has a row of q or k, one of v or dy, the sums and 32 weights.
constexpr size_t attention_any_width_shared_bytes(int64_t E, int64_t D) {
  return size_t(4 * (E + D + std::max(E, D) + 32)) * sizeof(float);
}

}  // namespace saslm
