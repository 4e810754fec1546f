// The parts of attention on a GPU. attention.cu puts them together.
#pragma once
#include <utility>

#include "core/bf16.h"
#include "kernels/attention_plan.h"

namespace saslm::cuda {

// On the tensor cores. False, and nothing done, when the widths are beyond kAttentionWidths or some row does
// not begin and end on 16 bytes.
bool attention_fwd_on_tiles(Stream, const AttentionFwd<bf16>&);
bool attention_bwd_on_tiles(Stream, const AttentionBwd<bf16>&);

// Any width, float and bf16.
template <class T>
void attention_fwd_any_width(Stream, const AttentionFwd<T>&);
template <class T>
void attention_bwd_any_width(Stream, const AttentionBwd<T>&);

template <class T>
AttentionShape shape_of(const AttentionBwd<T>& a) {
  return {.B = a.q.B,
          .T = a.q.T,
          .H = a.q.H,
          .Gk = a.k.H,
          .Gv = a.v.H,
          .v_modulo = a.v_modulo,
          .E = a.q.D,
          .D = a.v.D};
}

template <int Width, int ValueWidth>
struct Widths {
  static constexpr int E = Width, D = ValueWidth;
};

// run(Widths<E, D>) for the pair that holds these widths; false when there is none.
template <class Run>
bool with_widths(int64_t E, int64_t D, Run run) {
  const size_t wanted = attention_widths_for(E, D);
  const auto one = [&]<size_t I>() {
    if (I == wanted) run(Widths<kAttentionWidths[I].E, kAttentionWidths[I].D>());
    return I == wanted;
  };
  return [&]<size_t... I>(std::index_sequence<I...>) {
    return (one.template operator()<I>() || ...);
  }
  (std::make_index_sequence<kAttentionWidths.size()>());
}

}  // namespace saslm::cuda
