// How the GPU shares the tokens of SAS' backward among thread blocks, and where a block leaves its sums of
// the parameters' gradients: functions of the shape alone, so that no result depends on the card.
//
//   partition p           tokens p * n .. (p + 1) * n - 1 of all B*T, n = sas_partition_tokens(B*T); block
//   p's SasBwd::partial       (sas_partitions(B*T), SasGradientLayout::size) float: row p is the sums of
//   partition p dw                    += the sum of the rows, in order (sas_add_partials_kernel)
#pragma once
#include <algorithm>

#include "core/dims.h"
#include "kernels/sas.h"

namespace saslm::cuda {

// At most one partition for every multiprocessor of an H200, and enough tokens to be worth a block: whole
// groups of those that a block computes at a time.
constexpr int64_t kSasPartitions = 132;
constexpr int64_t kSasPartitionTokens = 16;
constexpr int64_t kSasGroupTokens = 4;

inline int64_t sas_partition_tokens(int64_t tokens) {
  return std::max(kSasPartitionTokens, round_up(ceil_div(tokens, kSasPartitions), kSasGroupTokens));
}
inline int64_t sas_partitions(int64_t tokens) {
  return ceil_div(tokens, sas_partition_tokens(tokens));
}

// One partition's sums, in float: where each parameter's gradient begins, laid out as SasParams has it.
struct SasGradientLayout {
  int64_t conv1_w = 0, conv1_b = 0, conv2_w = 0, conv2_b = 0;
  int64_t proj1_w = 0, proj1_b = 0, proj2_w = 0, proj2_b = 0;
  int64_t size = 0;

  constexpr explicit SasGradientLayout(const SasShape& s) {
    const int64_t convs = s.convs ? 1 : 0, projections = s.projections ? 1 : 0;
    const auto take = [this](int64_t elements) {
      size += elements;
      return size - elements;
    };
    conv1_w = take(convs * s.Hs * s.H * s.K);
    conv1_b = take(convs * s.Hs);
    conv2_w = take(convs * s.Hs * s.Hs * s.K);
    conv2_b = take(convs * s.Hs);
    proj1_w = take(projections * s.E * s.D);
    proj1_b = take(projections * s.E);
    proj2_w = take(projections * s.E * s.E);
    proj2_b = take(projections * s.E);
  }
};

inline int64_t sas_bwd_scratch(const SasShape& shape) {
  return sas_partitions(shape.tokens) * SasGradientLayout(shape).size;
}

}  // namespace saslm::cuda
