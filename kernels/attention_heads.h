// Which k and v head a query head of attention reads.
//
//   k(h) = h / (H/Gk)                        groups of neighbouring query heads share one
//   v(h) = (h mod modulo) / (modulo/Gv)      likewise, from v head 0 on again after every `modulo` heads
//
// modulo = H, except where SAS simulates heads of q and k but not of v: there it is n_head.
#pragma once
#include <cstdint>

namespace saslm {

struct AttentionHeads {
  int H = 1, Gk = 1, Gv = 1, modulo = 1;
  int k_group = 1, v_group = 1;  // query heads that share a k head; and, of `modulo`, a v head

  constexpr AttentionHeads() = default;
  // v_modulo is that of the arguments: 0 stands for H.
  constexpr AttentionHeads(int64_t heads, int64_t k_heads, int64_t v_heads, int64_t v_modulo)
      : H(int(heads)),
        Gk(int(k_heads)),
        Gv(int(v_heads)),
        modulo(int(v_modulo ? v_modulo : heads)),
        k_group(H / Gk),
        v_group(modulo / Gv) {}

  constexpr int k(int h) const { return h / k_group; }
  constexpr int v(int h) const { return h % modulo / v_group; }
};

// The heads of a call (AttentionFwd, AttentionBwd) whose arguments have been checked.
template <class A>
constexpr AttentionHeads heads_of(const A& a) {
  return {a.q.H, a.k.H, a.v.H, a.v_modulo};
}

}  // namespace saslm
