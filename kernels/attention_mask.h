// Which keys a query of causal attention sees: a contiguous range of positions that ends with its own.
//
//   query i sees keys       first(i) .. i        window W: first(i) = max(0, i - W + 1)
//   key j is seen by        queries j .. last(j)
//
// Kernels ask nothing else of a mask; a window and documents (first(i) = the later of the window's first key
// and the document's) differ in these two functions alone. Both are non-decreasing: so a block of queries
// sees the range from the first key of its first query to its last query, and whether a tile of queries and
// keys is visible follows from the ends of both.
#pragma once
#include <algorithm>
#include <cstdint>

#include "core/view.h"

namespace saslm {

enum class TileMask { skipped, partial, full };  // no pair of a tile is visible, some are, all are

// The mask of one sequence. A position past the end is treated as the last one.
struct SequenceMask {
  const int32_t *first_of = nullptr, *last_of = nullptr;  // (positions); absent: the window decides
  int positions = 0, window = 0;

  constexpr int first(int i) const {
    return first_of ? first_of[std::min(i, positions - 1)] : std::max(0, i - window + 1);
  }
  constexpr int last(int j) const {
    return last_of ? last_of[std::min(j, positions - 1)] : std::min(positions - 1, j + window - 1);
  }
  // The tile of queries first_query .. last_query and keys first_key .. last_key.
  constexpr TileMask tile(int first_query, int last_query, int first_key, int last_key) const {
    if (first_key > last_query || last_key < first(first_query)) return TileMask::skipped;
    return last_key <= first_query && first_key >= first(last_query) ? TileMask::full : TileMask::partial;
  }
};

struct AttentionMask {
  static constexpr int kUnlimited = 1 << 30;

  int window = kUnlimited;  // a query sees so many keys at most, its own among them; at least 1
  // Per sequence, first(i) and last(j) of every position, in the memory of the call's other views. They
  // include the window, which is then not read. Both are given or neither.
  Mat<const int32_t> first_of, last_of;  // (B, Tk)

  constexpr SequenceMask of(int64_t b, int64_t positions) const {
    if (!first_of) return {nullptr, nullptr, int(positions), window};
    return {first_of[b], last_of[b], int(positions), window};
  }

  // The number of visible (query, key) pairs of one head in B sequences, for queries start .. start + T - 1,
  // as FLOPs count them: a query's own key counts one half, so that without a window they are T^2 / 2 (start
  // = 0). Reads first_of, which must then lie in the host's memory.
  double pairs(int64_t B, int64_t start, int64_t T) const {
    double sum = 0;
    for (int64_t b = 0; b < (first_of ? B : 1); ++b) {
      const SequenceMask mask = of(b, start + T);
      for (int64_t i = start; i < start + T; ++i) sum += double(i - mask.first(int(i))) + 0.5;
    }
    return first_of ? sum : sum * double(B);
  }
};

// Multiply-adds of that many pairs. Forward: scores and o. Backward: the scores again, dp, dv, dq and dk.
constexpr double attention_fwd_macs(double pairs, int64_t E, int64_t D) {
  return pairs * double(E + D);
}
constexpr double attention_bwd_macs(double pairs, int64_t E, int64_t D) {
  return pairs * double(3 * E + 2 * D);
}

}  // namespace saslm
