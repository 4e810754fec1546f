// Which k and v head a query head of attention reads.
//
//   k(h) = h / (H/Gk)                        contiguous groups of query heads share one
//   v(h) = (h mod modulo) / (modulo/Gv)      likewise, but again from the first one after every `modulo`
//
// modulo = H but for simulated heads over v heads that were not simulated: there it is n_head.
#pragma once
#include <cstdint>

namespace saslm {

struct AttentionHeads {
  int H = 1, Gk = 1, Gv = 1, modulo = 1;
  int k_group = 1, v_group = 1;  // query heads that share a k head; and a v head, of `modulo`

  constexpr AttentionHeads() = default;
  // v_modulo as arguments have it: 0 stands for H.
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

// Of the arguments of a call (AttentionFwd, AttentionBwd), once checked.
template <class A>
constexpr AttentionHeads heads_of(const A& a) {
  return {a.q.H, a.k.H, a.v.H, a.v_modulo};
}

}  // namespace saslm
