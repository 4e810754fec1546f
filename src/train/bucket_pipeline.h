// Buckets on their way through the stages of a sum over ranks. While one is at a stage, the next is at the
// stage before it, and so on: one exchange carries a stage of each. So a sum costs about one exchange a
// bucket, whatever the number of stages, and the connections of all stages are busy at once.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

namespace saslm {

class BucketPipeline {
 public:
  static constexpr int64_t kNone = -1;

  explicit BucketPipeline(size_t stages) : at_(stages, kNone) {}

  // All go to their next stage, the one at the last is through, and `bucket`, or none, comes to the first.
  void advance(int64_t bucket) {
    if (at_.empty()) return;
    std::rotate(at_.begin(), at_.end() - 1, at_.end());
    at_.front() = bucket;
  }
  // The bucket at every stage, or kNone.
  const std::vector<int64_t>& at() const { return at_; }
  // Whether none is left that has a further stage to go to.
  bool through() const {
    return at_.empty() || std::all_of(at_.begin(), at_.end() - 1, [](int64_t b) { return b == kNone; });
  }

 private:
  std::vector<int64_t> at_;
};

}  // namespace saslm
