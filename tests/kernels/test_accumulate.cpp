#include <gtest/gtest.h>

#include <vector>

#include "core/error.h"
#include "kernels/accumulate.h"

namespace saslm {
namespace {

TEST(Accumulate, AddsEveryElementAndNoOther) {
  for (const int64_t size : {0, 1, 15, 16, 17, 16384, 40000}) {
    std::vector<float> y(size_t(size + 1)), x(size_t(size + 1));
    for (int64_t i = 0; i < size; ++i) y[size_t(i)] = float(i % 7), x[size_t(i)] = float(i % 5) / 4;
    y.back() = 3;
    cpu::accumulate<float>({}, {.y = {y.data(), size}, .x = {x.data(), size}});
    for (int64_t i = 0; i < size; ++i)
      ASSERT_EQ(y[size_t(i)], float(i % 7) + float(i % 5) / 4) << i << " of " << size;
    EXPECT_EQ(y.back(), 3);
  }
}

TEST(Accumulate, NamesVectorsOfOtherSizes) {
  float y[2] = {}, x[3] = {};
  EXPECT_THROW(cpu::accumulate<float>({}, {.y = {y, 2}, .x = {x, 3}}), ShapeError);
  EXPECT_THROW(cpu::accumulate<float>({}, {.y = {y, 2}, .x = {nullptr, 2}}), ShapeError);
}

}  // namespace
}  // namespace saslm
