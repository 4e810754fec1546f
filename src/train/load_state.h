// A checkpoint's weights and moments into an engine, a tensor at a time: no rank holds them twice.
#pragma once
#include <vector>

#include "checkpoint/checkpoint.h"
#include "train/engine.h"

namespace saslm {

template <class T>
void load_state(const Engine<T>& engine, const Checkpoint& checkpoint) {
  constexpr Region kParts[] = {Region::masters, Region::moment1, Region::moment2};
  constexpr const char* kPrefixes[] = {"", "m.", "v."};
  const std::vector<ConstNamedTensor> weights = engine.tensors();
  std::vector<ConstNamedTensor> moments = engine.tensors("m.");
  for (ConstNamedTensor& v : engine.tensors("v.")) moments.push_back(std::move(v));
  size_t taken = 0;  // they come in this order
  load_checkpoint(checkpoint, weights, moments, [&](const ConstNamedTensor& tensor) {
    const size_t third = taken++ / weights.size();
    engine.store(kParts[third], tensor, kPrefixes[third]);
  });
}

}  // namespace saslm
