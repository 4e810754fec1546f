#include "data/prefetch.h"

#include <utility>

namespace saslm {

BatchPrefetch::BatchPrefetch(const BatchLoader& loader, int64_t batch, int64_t seq_len)
    : loader_(loader), now_(batch, seq_len), ahead_(batch, seq_len) {}

TokenBatch BatchPrefetch::get(uint64_t first, uint64_t next) {
  if (next_.valid() && announced_ == first) {
    next_.get();
    std::swap(now_, ahead_);
  } else {
    if (next_.valid()) next_.wait();
    loader_.load(first, now_);
  }
  announced_ = next;
  // If no thread can be started, the batch is read when requested.
  next_ =
      std::async(std::launch::async | std::launch::deferred, [this, next] { loader_.load(next, ahead_); });
  return now_.batch();
}

}  // namespace saslm
