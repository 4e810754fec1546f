// Counter-based random numbers: a value depends only on (key, counter), not on order or rank. Philox4x32-10,
// Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.
#pragma once
#include <array>
#include <cstdint>
#include <string_view>

namespace saslm {

using Philox = std::array<uint32_t, 4>;

// Four independent 32-bit words for one 128-bit counter under one 64-bit key.
Philox philox(uint64_t key, uint64_t counter_low, uint64_t counter_high = 0);

// A key for one named purpose under one seed, e.g. stream_key(seed, "layers.0.attn.q.weight").
uint64_t stream_key(uint64_t seed, std::string_view purpose);

// Uniform in [0, 1) with 53 bits, and standard normal (Box-Muller): value `index` of stream `key`.
double uniform(uint64_t key, uint64_t index);
double normal(uint64_t key, uint64_t index);

// A keyed permutation of 0 .. n-1 in O(1) memory and expected O(1) time per element:
// an eight-round Feistel network on the smallest even-width power of four >= n, walked until inside.
class Permutation {
 public:
  Permutation(uint64_t key, uint64_t n);
  uint64_t operator()(uint64_t index) const;  // index < n

 private:
  uint64_t key_, n_;
  int half_bits_;
};

}  // namespace saslm
