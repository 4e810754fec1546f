// One letter per dimension, the same everywhere:
//
//   B   batch (sequences)      T   time (positions)       N   rows = B*T
//   C   channels = d_model     V   vocabulary             L   layers
//   H   query heads            G   key/value heads        D   head width
//   Hs  simulated heads        Ds  simulated head width   K   convolution taps (kernel_size)
//   E   query/key width (D or Ds)                         F   mlp hidden width
//   P   head groups that PEAA averages = Hs / H
//
// JSON spells them out (n_head, head_dim, ...); config.cpp alone translates.
#pragma once
#include <cstdint>

namespace saslm {

constexpr int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}
constexpr int64_t round_up(int64_t a, int64_t multiple) {
  return ceil_div(a, multiple) * multiple;
}

}  // namespace saslm
