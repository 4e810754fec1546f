// Sampling from a model, one token at a time over a key/value cache.
#pragma once
#include <functional>
#include <vector>

#include "train/engine.h"

namespace saslm {

struct SamplingOptions {
  int64_t tokens = 200;
  double temperature = 1.0;  // 0 = always the likeliest token
  int64_t top_k = 0;         // sample among the k likeliest; 0 = all
  uint64_t seed = 1;         // token i is drawn with random number i of this seed
};

// Continues `prompt` (at least one token) and hands out every new token as it is drawn. The engine is
// Mode::infer for one sequence; its seq_len is the context. When the context is full, the newer half of it is
// read again and generation goes on from there.
template <class T>
void generate(const Engine<T>& engine, const std::vector<int32_t>& prompt, const SamplingOptions& options,
              int64_t seq_len, const std::function<void(int32_t)>& emit);

// The token for one draw u in [0, 1).
template <class T>
int32_t pick_token(const std::vector<T>& logits, const SamplingOptions& options, double u);

}  // namespace saslm
