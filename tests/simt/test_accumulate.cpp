#include "core/error.h"
#include "kernels/accumulate.h"
#include "simt/views.h"

namespace saslm {
namespace {

// Several blocks, ragged, and views that start one element late.
TEST(SimtAccumulate, IsItsTwinBitForBit) {
  for (const int64_t size : {1, 4, 7, 1024, 2051})
    for (const int64_t y_first : {0, 1})
      for (const int64_t x_first : {0, 1}) {
        SCOPED_TRACE(::testing::Message() << size << " from " << y_first << " and " << x_first);
        Twin<float> y(size + 2), x(size + 2);
        x.draw(1), y.draw(2);
        const std::vector<float> before(&y[0], &y[0] + y.size());
        simt::for_every_schedule([&](Stream stream) {
          std::copy(before.begin(), before.end(), &y[0]);
          cuda::accumulate(stream, {.y = {&y[y_first], size}, .x = {&x[x_first], size}});
          for (int64_t i = 0; i < y.size(); ++i) {
            const bool inside = i >= y_first && i < y_first + size;
            ASSERT_EQ(y[i], inside ? before[size_t(i)] + x[i - y_first + x_first] : before[size_t(i)]) << i;
          }
        });
      }
}

TEST(SimtAccumulate, NothingIsNoWorkAndOtherSizesAreNamed) {
  Twin<float> x(4);
  cuda::accumulate({}, {.y = {&x[0], 0}, .x = {&x[0], 0}});
  EXPECT_THROW(cuda::accumulate({}, {.y = {&x[0], 1}, .x = {&x[0], 2}}), ShapeError);
}

}  // namespace
}  // namespace saslm
