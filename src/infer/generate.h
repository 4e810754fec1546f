// Sampling from a model, one token at a time over a key/value cache.
#pragma once
#include <functional>
#include <vector>

#include "train/engine.h"

namespace saslm {

struct SamplingOptions {
  int64_t tokens = 200;
  double temperature = 1.0;  // 0 = always the most likely token
  int64_t top_k = 0;         // sample from the k most likely; 0 = all
  uint64_t seed = 1;         // token i uses random number i of this seed
};

// Continues `prompt` (at least one token), and passes on each new token at once. The engine is Mode::infer
// for one sequence; its seq_len is the context length. When the context is full, its newer half is processed
// again and generation continues from there.
template <class T>
void generate(const Engine<T>& engine, const std::vector<int32_t>& prompt, const SamplingOptions& options,
              int64_t seq_len, const std::function<void(int32_t)>& emit);

// The token sampled with a uniform number u in [0, 1).
template <class T>
int32_t pick_token(const std::vector<T>& logits, const SamplingOptions& options, double u);

}  // namespace saslm
