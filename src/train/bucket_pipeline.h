// A pipeline of buckets through the stages of an all-reduce. While one bucket is at a stage, the next one is
// at the stage before it: each exchange carries one stage of several buckets. So an all-reduce costs about
// one exchange per bucket for any number of stages, and the connections of all stages are busy at the same
// time.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

namespace saslm {

class BucketPipeline {
 public:
  static constexpr int64_t kNone = -1;

  explicit BucketPipeline(size_t stages) : at_(stages, kNone) {}

  // Moves every bucket to its next stage and `bucket`, or kNone, to the first; the one at the last leaves.
  void advance(int64_t bucket) {
    if (at_.empty()) return;
    std::rotate(at_.begin(), at_.end() - 1, at_.end());
    at_.front() = bucket;
  }
  // By stage, the bucket that is there, or kNone.
  const std::vector<int64_t>& at() const { return at_; }
  // Whether no bucket has another stage before it.
  bool through() const {
    return at_.empty() || std::all_of(at_.begin(), at_.end() - 1, [](int64_t b) { return b == kNone; });
  }

 private:
  std::vector<int64_t> at_;
};

}  // namespace saslm
