// The kernels of attention on a GPU, which attention.cu puts together, and what their launches share.
#pragma once
#include <utility>

#include "core/bf16.h"
#include "kernels/attention.h"
#include "kernels/cuda/attention_tiles.h"
#include "kernels/cuda/paths.h"

namespace saslm::cuda {

// On the tensor cores, by one of the paths that paths_of has for the call.
void attention_fwd_on_tiles(Stream, const AttentionFwd<bf16>&, const Path&);
void attention_bwd_on_tiles(Stream, const AttentionBwd<bf16>&, const Path&);

// Any width, float and bf16.
template <class T>
void attention_fwd_any_width(Stream, const AttentionFwd<T>&);
template <class T>
void attention_bwd_any_width(Stream, const AttentionBwd<T>&);

// Which k and v head a query head reads; by_words: rows that do not all begin on 16 bytes, loaded by 4.
struct HeadReads : AttentionHeads {
  bool by_words = false;
};

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

// run(Widths<E, D>) for pair `size` of kAttentionWidths.
template <class Run>
void with_widths(int size, Run run) {
  const auto one = [&]<size_t I>() {
    if (int(I) == size) run(Widths<kAttentionWidths[I].E, kAttentionWidths[I].D>());
  };
  [&]<size_t... I>(std::index_sequence<I...>) {
    (one.template operator()<I>(), ...);
  }
  (std::make_index_sequence<kAttentionWidths.size()>());
}

}  // namespace saslm::cuda
