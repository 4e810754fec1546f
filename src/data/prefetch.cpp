#include "data/prefetch.h"

#include <utility>

namespace saslm {

BatchPrefetch::BatchPrefetch(const BatchLoader& loader, int64_t batch, int64_t seq_len)
    : loader_(loader), batch_(batch) {
  for (Batch* const one : {&now_, &ahead_})
    one->inputs.resize(size_t(batch * seq_len)), one->targets.resize(one->inputs.size());
}

void BatchPrefetch::read(uint64_t first, Batch& into) const {
  loader_.load(first, batch_, into.inputs.data(), into.targets.data());
}

const BatchPrefetch::Batch& BatchPrefetch::get(uint64_t first, uint64_t next) {
  if (next_.valid() && announced_ == first) {
    next_.get();
    std::swap(now_, ahead_);
  } else {
    if (next_.valid()) next_.wait();
    read(first, now_);
  }
  announced_ = next;
  // If no thread can be started, the batch is read when requested.
  next_ = std::async(std::launch::async | std::launch::deferred, [this, next] { read(next, ahead_); });
  return now_;
}

}  // namespace saslm
