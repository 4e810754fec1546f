// All stages of the attention sublayer, in their order: the one list. What a stage must have elsewhere (an
// export, a golden model, a page) is checked by tests/bench/test_completeness.cpp, which reads it.
#pragma once
#include <string>
#include <vector>

#include "model/head_mean.h"
#include "model/moh.h"
#include "model/sas.h"

namespace saslm {

template <class... S>
struct StageList {};

template <class T>
using StagesBeforeCore = StageList<Sas<T>>;
template <class T>
using StagesAfterCore = StageList<HeadMean<T>, Moh<T>>;

// f.operator()<S>() for every stage S of the list that such a sublayer has, in order.
template <class... S, class F>
void for_each_present(StageList<S...>, const AttentionConfig& config, F&& f) {
  const auto visit = [&]<class One>() {
    if (One::present(config)) f.template operator()<One>();
  };
  (visit.template operator()<S>(), ...);
}

// Whether training minimises more than the cross-entropy: Exec::aux_loss.
inline bool adds_loss(const AttentionConfig& config) {
  bool adds = false;
  const auto one = [&]<class S>() { adds |= S::kAddsLoss; };
  for_each_present(StagesBeforeCore<float>(), config, one);
  for_each_present(StagesAfterCore<float>(), config, one);
  return adds;
}

// The names of all of them.
inline std::vector<std::string> stage_names() {
  const auto names = []<class... Before, class... After>(StageList<Before...>, StageList<After...>) {
    return std::vector<std::string>{Before::kName..., After::kName...};
  };
  return names(StagesBeforeCore<float>(), StagesAfterCore<float>());
}

}  // namespace saslm
