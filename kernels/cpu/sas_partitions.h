// How the CPU shares the tokens of a SAS simulation among tasks, and where a task keeps its sums: functions
// of the shape alone, so that no result depends on the number of threads.
#pragma once
#include "core/dims.h"
#include "kernels/sas.h"

namespace saslm::cpu {

constexpr int64_t kSasGroup = 16;          // tokens in cache at once
constexpr int64_t kSasRows = 48;           // rows (a head of a token) that pass the projections at once
constexpr int64_t kSasMaxPartitions = 64;  // enough for every core; bounds the memory of the sums

// Backward: the tokens of one partition, a few whole groups, and how many partitions that makes.
inline int64_t sas_partition_tokens(int64_t tokens) {
  return round_up(ceil_div(tokens, kSasMaxPartitions), 4 * kSasGroup);
}
inline int64_t sas_partitions(int64_t tokens) {
  return ceil_div(tokens, sas_partition_tokens(tokens));
}

// One partition's sums for the parameters' gradients. A convolution keeps a whole vector per weight,
//   [Hs][columns + 1][lanes]   column c = (input channel, tap), then unused ones; the last is the bias
// a linear keeps its transpose,
//   [inputs + 1][E rounded up to lanes]   the last row is the bias.
struct SasGradientLayout {
  static constexpr int64_t kColumns = 4;  // summed at a time: columns are rounded up to this
  int64_t lanes, width, columns1, columns2;
  int64_t conv1, conv2, proj1, proj2, size;  // offsets in elements; size of all

  SasGradientLayout(const SasShape& s, int64_t lanes_of_vector)
      : lanes(lanes_of_vector),
        width(round_up(s.E, lanes)),
        columns1(round_up(s.H * s.K, kColumns)),
        columns2(round_up(s.Hs * s.K, kColumns)),
        conv1(0),
        conv2(conv1 + (s.convs ? s.Hs * (columns1 + 1) * lanes : 0)),
        proj1(conv2 + (s.convs ? s.Hs * (columns2 + 1) * lanes : 0)),
        proj2(proj1 + (s.projections ? (s.D + 1) * width : 0)),
        size(proj2 + (s.projections ? (s.E + 1) * width : 0)) {}
};

inline int64_t sas_bwd_scratch(const SasShape& shape) {
  constexpr int64_t kMostLanes = 16;  // of a float vector; double has fewer
  return sas_partitions(shape.tokens) * SasGradientLayout(shape, kMostLanes).size;
}

}  // namespace saslm::cpu
