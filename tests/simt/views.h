// For tests of kernels over views with gaps: poison inside the view alone, and the same bits in every run.
#pragma once
#include <cstring>

#include "simt/twin.h"

namespace saslm {

// Sets every element of the view to NaN. What lies between its rows stays as it is: a test sees a change
// there.
template <class T>
void poison(const Mat<T>& view) {
  for (int64_t r = 0; r < view.rows; ++r)
    for (int64_t c = 0; c < view.cols; ++c) view[r][c] = T(NAN);
}

// Fails if a tensor's bits differ from those of the first run.
template <class T>
class SameBits {
 public:
  void expect(const Twin<T>& x, const char* name) {
    const T* const now = &x[0];
    if (first_.empty()) first_.assign(now, now + x.size());
    for (size_t i = 0; i < first_.size(); ++i)
      ASSERT_EQ(std::memcmp(&now[i], &first_[i], sizeof(T)), 0)
          << name << "[" << i << "]: " << float(now[i]) << ", in the first run " << float(first_[i]);
  }

 private:
  std::vector<T> first_;
};

}  // namespace saslm
