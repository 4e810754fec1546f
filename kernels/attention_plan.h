// Attention on a GPU: the widths its tensor-core kernels are made for, and how backward is dealt out to
// blocks and uses its scratch. All of it a function of the shape alone. Meaning and design:
// kernels/cuda/attention_*.cu.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <numeric>

#include "core/dims.h"
#include "kernels/attention.h"

namespace saslm {

struct AttentionWidths {
  int E, D;
};
// Other widths are padded up to the first pair that holds them. Beyond the last one the kernels of
// attention_fp32.cu serve, which take any width but no tensor cores.
constexpr std::array<AttentionWidths, 5> kAttentionWidths{
    {{64, 64}, {96, 64}, {96, 96}, {128, 128}, {192, 128}}};
// Its index, or size() when none is wide enough.
constexpr size_t attention_widths_for(int64_t E, int64_t D) {
  size_t i = 0;
  while (i < kAttentionWidths.size() && (E > kAttentionWidths[i].E || D > kAttentionWidths[i].D)) ++i;
  return i;
}

// Tiles, and the shared memory of a block that works on them. Forward: 128 queries, two stages of keys and
// values, the block's place and the mask's edges of its four warps.
constexpr int attention_fwd_keys(int64_t D) {
  return D <= 96 ? 64 : 32;  // what registers have room for
}
constexpr size_t attention_fwd_shared_bytes(int64_t E, int64_t D) {
  return size_t(2 * (128 * E + 2 * attention_fwd_keys(D) * (E + D)) + 16 + 4 * 8);
}
// Backward: so many keys, two stages of queries; dS, the statistics of both stages, what the block works on,
// and the mask's edges.
constexpr int attention_bwd_queries(int64_t E, int64_t keys) {
  return (E <= 96 ? 64 : 32) / (keys == 128 ? 1 : 2);
}
constexpr size_t kAttentionBwdHeadBytes = 248 + 8;
constexpr size_t attention_bwd_shared_bytes(int64_t E, int64_t D, int64_t keys) {
  const int64_t queries = attention_bwd_queries(E, keys);
  return size_t(2 * (keys * (E + D) + 2 * queries * (E + D) + keys * queries) + 16 * queries) +
         kAttentionBwdHeadBytes;
}
// Half the keys at a time, where the whole tile does not fit the 99 KiB of sm_86, 89 and 120.
constexpr bool attention_bwd_has_narrow(const AttentionWidths& w) {
  return attention_bwd_shared_bytes(w.E, w.D, 128) > 99 * 1024;
}
// Whether rows may begin on 4 bytes, not all on 16: beside 128 keys of (96, 96) or (192, 128), registers have
// no room for both ways of loading, and such rows take the narrow tile.
constexpr bool attention_bwd_takes_words(const AttentionWidths& w, int64_t keys) {
  return keys < 128 || !((w.E == 96 && w.D == 96) || (w.E == 192 && w.D == 128));
}
// The kernels for any width: of each of 4 warps a row of q or k, one of v or dy, the sums and 32 weights.
constexpr size_t attention_any_width_shared_bytes(int64_t E, int64_t D) {
  return size_t(4 * (E + D + std::max(E, D) + 32)) * sizeof(float);
}

// Forward: which head (of B*H) and which block of its queries a block of the grid takes. Heads come in
// sections whose keys and values lie in the L2 cache together; in each the longest blocks of all heads come
// first.
struct AttentionFwdDeal {
  static constexpr int64_t kSectionBytes = 24 << 20;  // half the cache of an H100; less than that of an A100

  int heads, blocks, section;  // blocks of a head, heads of a section

  constexpr AttentionFwdDeal(int64_t head_count, int64_t blocks_of_head, int64_t bytes_of_head)
      : heads(int(head_count)),
        blocks(int(blocks_of_head)),
        section(int(std::clamp(kSectionBytes / bytes_of_head, int64_t(1), head_count))) {}
  constexpr int64_t count() const { return int64_t(heads) * blocks; }
  constexpr int head(int id) const { return first_head(id) + rest(id) % heads_of_section(id); }
  constexpr int block(int id) const { return blocks - 1 - rest(id) / heads_of_section(id); }

 private:
  constexpr int first_head(int id) const { return id / (section * blocks) * section; }
  constexpr int rest(int id) const { return id % (section * blocks); }
  constexpr int heads_of_section(int id) const { return std::min(section, heads - first_head(id)); }
};

// Backward is made of units, each the work of one block at a time. A unit takes query heads that read the
// same v head and either the same k head or each its own; such heads make a run, and a run is cut into units
// only when the shape has too few of them to fill a GPU. When it has too few heads even so, units (then of
// one head each) are split further, every split taking each so manieth key block; their dq are added up
// afterwards.
struct AttentionBwdPlan {
  static constexpr int64_t kWantedUnits = 128;  // a GPU has 108 (A100) or 132 (H100, H200) multiprocessors
  // Blocks walk units a stride apart, so that scratch stays small: two for each multiprocessor of an H200, or
  // one where each has the dQ of a long sequence.
  static constexpr int64_t kMaxBlocks = 264, kLong = 8192;
  static constexpr int64_t kKeys = 128;    // of a key block
  static constexpr int64_t kQueries = 64;  // statistics are padded to whole blocks of so many queries

  int64_t B = 0, T = 0, H = 0, Gk = 0, Gv = 0, modulo = 0, E = 0, D = 0;  // modulo: of AttentionHeads
  int64_t keys = kKeys;         // of a key block of the kernel: all of them, or half as many
  bool own_keys = false;        // the heads of a run have a k head each
  int64_t run = 0, stride = 0;  // query heads of a run, and from one to the next
  int64_t cuts = 0;             // units of a run
  int64_t units_of_sequence = 0, units = 0;
  int64_t splits = 0, parts = 0;  // of a unit, each of two key blocks or more; of all units

  constexpr AttentionBwdPlan() = default;
  constexpr explicit AttentionBwdPlan(const AttentionShape& s, int64_t keys_of_block = kKeys)
      : B(s.B),
        T(s.T),
        H(s.H),
        Gk(s.Gk),
        Gv(s.Gv),
        modulo(AttentionHeads(s.H, s.Gk, s.Gv, s.v_modulo).modulo),
        E(s.E),
        D(s.D),
        keys(keys_of_block),
        own_keys(s.Gk == s.H) {
    run = own_keys ? H / modulo : std::gcd(H / Gk, modulo / Gv);
    stride = own_keys ? modulo : 1;
    cuts = std::min(run, ceil_div(kWantedUnits, B * (H / run)));
    units_of_sequence = H / run * cuts;
    units = B * units_of_sequence;
    splits = std::clamp(kWantedUnits / units, int64_t(1), std::max(int64_t(1), key_blocks() / 2));
    parts = units * splits;
  }

  constexpr int64_t key_blocks() const { return ceil_div(T, kKeys); }
  constexpr int64_t blocks() const { return std::min(parts, T <= kLong ? kMaxBlocks : kMaxBlocks / 2); }

  // Part p is split p % splits of unit p / splits; its key blocks begin at last_key(p) and lie `splits`
  // apart.
  constexpr int last_key(int p) const { return int((ceil_div(T, keys) - 1 - p % splits) * keys); }

  // The query heads of unit u of a sequence: first_head(u) + i*stride, i = 0 .. heads(u) - 1.
  constexpr int64_t first_head(int64_t u) const {
    return u / cuts * (own_keys ? 1 : run) + u % cuts * run / cuts * stride;
  }
  constexpr int64_t heads(int64_t u) const { return (u % cuts + 1) * run / cuts - u % cuts * run / cuts; }

  // The units that read one k or v head g: unit(g, i), i = 0 .. count() - 1, ascending.
  struct Readers {
    int64_t periods, period, of_period;  // heads read their v heads again every `modulo`

    constexpr int64_t count() const { return periods * of_period; }
    constexpr int64_t unit(int64_t g, int64_t i) const {
      return i / of_period * period + g * of_period + i % of_period;
    }
  };
  constexpr Readers k_readers() const { return {1, units_of_sequence, units_of_sequence / Gk}; }
  constexpr Readers v_readers() const {
    const int64_t period = own_keys ? units_of_sequence : units_of_sequence / (H / modulo);
    return {units_of_sequence / period, period, period / Gv};
  }

  // Scratch, in floats: {lse log2 e, delta} of every query | dq of the head each block is at, padded |
  // dk and dv of every unit (units, T, width), where query heads share them.
  constexpr int64_t padded_queries() const { return round_up(T, kQueries); }
  constexpr int64_t statistics() const { return 2 * B * H * padded_queries(); }
  constexpr int64_t dq_of_block() const {
    const size_t i = attention_widths_for(E, D);
    return i < kAttentionWidths.size() ? padded_queries() * kAttentionWidths[i].E : 0;
  }
  constexpr bool on_tiles() const { return dq_of_block() > 0; }
  constexpr int64_t dq() const { return blocks() * dq_of_block(); }
  constexpr int64_t dk() const { return on_tiles() && Gk < H ? units * T * E : 0; }
  constexpr int64_t dv() const { return on_tiles() && Gv < H ? units * T * D : 0; }
  constexpr int64_t scratch() const { return statistics() + dq() + dk() + dv(); }
};

}  // namespace saslm
