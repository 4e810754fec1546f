// The order of samples in the endless training stream. A stateless function of the stream index, so the order
// cannot depend on batch size, prefetching, the number of ranks, or where a run was resumed.
#pragma once
#include <cstdint>
#include <string>

#include "core/error.h"
#include "core/rng.h"

namespace saslm {

class Sampler {
 public:
  // shuffle: every epoch is a permutation of the n samples, keyed by (seed, epoch). Otherwise every epoch is
  // 0, 1, ..., n-1.
  Sampler(int64_t n_samples, bool shuffle, uint64_t seed)
      : n_(uint64_t(n_samples)), shuffle_(shuffle), seed_(seed) {
    check(n_samples > 0, "a stream has samples");
  }

  int64_t operator()(uint64_t index) const {
    const uint64_t epoch = index / n_, place = index % n_;
    if (!shuffle_) return int64_t(place);
    const Permutation order(stream_key(seed_, "shuffle." + std::to_string(epoch)), n_);
    return int64_t(order(place));
  }

 private:
  uint64_t n_;
  bool shuffle_;
  uint64_t seed_;
};

}  // namespace saslm
