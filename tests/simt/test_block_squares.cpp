#include "core/error.h"
#include "kernels/block_squares.h"
#include "simt/views.h"

namespace saslm {
namespace {

constexpr int64_t kBlock = BlockSquares<float>::kBlock;

// Views that start `first` elements late; their sums must not, by a bit.
std::vector<double> sums_of(int64_t size, int64_t first) {
  SCOPED_TRACE(::testing::Message() << size << " from " << first);
  Twin<float> x(first + size);
  x.draw(1, 1, 0.1);
  for (int64_t i = 0; i < size; ++i) x.set(first + i, std::sin(double(i)));
  const int64_t blocks = ceil_div(size, kBlock);
  Twin<double> out(blocks + 1);
  SameBits<double> same;
  simt::for_every_schedule([&](Stream stream) {
    out.restart(-1);
    cuda::block_squares(stream, {.out = {&out[0], blocks}, .x = {&x[first], size}});
    TwinLog log("sums", "double");
    for (int64_t b = 0; b < blocks; ++b) {
      long double wanted = 0;
      for (int64_t i = b * kBlock; i < std::min(size, (b + 1) * kBlock); ++i)
        wanted += x.twin(first + i) * x.twin(first + i);
      // Roundings of double along a path of 16 + 8 additions, and one a square.
      log.add(std::abs(out[b] - double(wanted)), 0x1p-47 * double(wanted));
      EXPECT_NEAR(out[b], double(wanted), 0x1p-47 * double(wanted)) << "block " << b;
    }
    EXPECT_EQ(out[blocks], -1);
    same.expect(out, "sums");
  });
  return {&out[0], &out[0] + blocks};
}

TEST(SimtBlockSquares, AreTheSumsInDoubleWhereverTheVectorLies) {
  for (const int64_t size : {0, 1, 5, 1024, 4096, 2 * 4096 + 77})
    EXPECT_EQ(sums_of(size, 0), sums_of(size, 1));
}

TEST(SimtBlockSquares, WrongShapesAreNamed) {
  Twin<float> x(4);
  EXPECT_THROW(cuda::block_squares({}, {.x = x.vec<float>()}), ShapeError);
}

}  // namespace
}  // namespace saslm
