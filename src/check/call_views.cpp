#include "check/call_views.h"

#include <algorithm>
#include <tuple>

#include "core/error.h"

namespace saslm {
namespace {

// Primes, so that a kernel that mixes up the rows of a tile, or tiles, mixes up rows that differ.
constexpr int64_t kSequences = 3, kPositions = 31, kElements = 4093;

int64_t divisor_up_to(int64_t n, int64_t most) {
  int64_t d = std::min(n, most);
  while (n % d != 0) --d;
  return d;
}

}  // namespace

std::string CallView::dims() const {
  return std::to_string(B) + "x" + std::to_string(T) + "x" + std::to_string(H) + "x" + std::to_string(D);
}

void put(std::byte* at, CallView::Type type, int64_t i, double value) {
  const auto write = [&]<class X>(X x) { std::memcpy(at + i * int64_t(sizeof x), &x, sizeof x); };
  switch (type) {
    case CallView::Type::bf16:
      return write(bf16(float(value)));
    case CallView::Type::f32:
      return write(float(value));
    case CallView::Type::f64:
      return write(value);
    case CallView::Type::i32:
      return write(int32_t(value));
  }
}

void settle(std::vector<CallView>& views) {
  int64_t B = 0, T = 0;
  const auto take = [&](auto fits, auto sizes) {
    for (const CallView& v : views)
      if (T == 0 && v.begin && v.use.row == Use::Row::token && fits(v)) std::tie(B, T) = sizes(v);
  };
  take([](const CallView& v) { return v.b_stride != 0 || v.h_stride != 0; },
       [](const CallView& v) { return std::pair(v.B, v.T); });
  take([](const CallView& v) { return !v.vector; }, [](const CallView& v) { return std::pair(v.B, v.T); });
  take([](const CallView&) { return true; }, [](const CallView& v) { return std::pair(int64_t(1), v.D); });
  for (CallView& v : views) {
    if (!v.begin || v.use.row != Use::Row::token || v.b_stride != 0 || v.h_stride != 0) continue;
    const int64_t rows = v.vector ? v.D : v.T, each = rows / (B * T);
    check(rows == B * T * each && (v.vector || each == 1), "a call's views of tokens have its tokens");
    if (v.vector) v.D = v.t_stride = each;
    v.B = B, v.T = T, v.b_stride = T * v.t_stride;
  }
}

Fold fold_of(const std::vector<CallView>& views, bool exact) {
  Fold fold;
  bool vectors = true;
  for (const CallView& v : views)
    if (v.begin && v.use.row == Use::Row::token) {
      fold.B = v.B, fold.T = v.T;
      vectors = vectors && v.vector;
    }
  const int64_t positions = vectors ? kElements : kPositions;
  fold.sequences = exact ? divisor_up_to(fold.B, kSequences) : std::min(fold.B, kSequences);
  fold.positions = exact ? divisor_up_to(fold.T, positions) : std::min(fold.T, positions);
  return fold;
}

}  // namespace saslm
