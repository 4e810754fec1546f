// One letter per dimension, the same everywhere:
//
//   B   batch (sequences)      T   time (positions)       N   rows = B*T
//   C   channels = d_model     V   vocabulary             L   layers
//   H   query heads            G   key/value heads        D   head width
//   Hs  simulated heads        Ds  simulated head width   K   convolution taps (kernel_size)
//   E   query/key width (D or Ds)                         F   mlp hidden width
//   P   head groups that PEAA averages = Hs / H           W   window: keys that a query sees at most
//
// To the kernels of attention, H is the number of heads that they compute (Hs under SAS), Gk and Gv are the
// heads of k and of v, Hp the channels that the mean over head groups leaves, E and D the widths of k and v.
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
