#include "core/error.h"
#include "kernels/rope.h"
#include "simt/views.h"

namespace saslm {
namespace {

struct Shape {
  int64_t B, T, H, E;
  bool head_major = false;
  int64_t before = 0, after = 0;  // elements of a head that are not rotated, as MLA has them
  int64_t between = 0;            // elements between the sequences
  int64_t table_gap = 0, odd_cos = 0, odd_sin = 0;
};

// The least; ragged; packs with several blocks a sequence and several passes of a block; both layouts; part
// of a head, aligned and not; then each reason alone that forbids packs: where x starts, half a head, a
// stride of heads, of positions, of sequences, of the table, where the tables start.
const Shape kShapes[] = {{1, 1, 1, 2},
                         {2, 3, 3, 6},
                         {2, 19, 2, 32},
                         {1, 9, 5, 96},
                         {2, 10, 3, 64, true},
                         {1, 17, 2, 16, true},
                         {2, 9, 2, 32, false, 16, 8},
                         {1, 5, 3, 16, true, 3, 2},
                         {1, 4, 2, 16, true, 3, 5},
                         {1, 5, 2, 24, false, 0, 8},
                         {1, 5, 4, 16, false, 0, 2},
                         {1, 4, 2, 16, true, 0, 2},
                         {2, 4, 2, 16, false, 0, 0, 1},
                         {1, 4, 2, 16, false, 0, 0, 0, 1},
                         {1, 4, 2, 16, false, 0, 0, 0, 0, 1},
                         {1, 4, 2, 16, false, 0, 0, 0, 0, 0, 1}};

template <class T>
void is_its_twin(const Shape& s, bool inverse) {
  constexpr int64_t kStart = 2;
  const int64_t half = s.E / 2, width = s.before + s.E + s.after, positions = kStart + s.T + 1;
  Twin<T> x(s.B * (s.T * s.H * width + s.between)), cos(positions * (half + s.table_gap) + 1),
      sin(cos.size());
  const auto table = [&]<class S>(S) {
    return RopeTable<S>{cos.template mat<S>(positions, half, half + s.table_gap, s.odd_cos),
                        sin.template mat<S>(positions, half, half + s.table_gap, s.odd_sin)};
  };
  cpu::rope_fill<double>({}, {.table = table(double())});
  for (Twin<T>* t : {&cos, &sin})
    for (int64_t i = 0; i < t->size(); ++i) t->set(i, t->twin(i));
  x.draw(1);
  const std::vector<T> original(&x[0], &x[0] + x.size());
  const auto args = [&]<class S>(S) {
    S* const first = x.template data<S>() + s.before;
    Heads<S> heads =
        s.head_major ? heads_BHTD(first, s.B, s.T, s.H, width) : heads_BTHD(first, s.B, s.T, s.H, width);
    heads.D = s.E, heads.b_stride += s.between;
    return Rope<S>{.x = heads, .table = table(S()), .start = kStart, .inverse = inverse};
  };
  cpu::rope<double>({}, args(double()));
  SameBits<T> same;
  simt::for_every_schedule([&](Stream stream) {
    std::copy(original.begin(), original.end(), &x[0]);
    cuda::rope<T>(stream, args(T()));
    x.expect_near(kEpsilon<T> + 4 * kEpsilon<float>, "x");  // two products and their sum, then rounded
    same.expect(x, "x");
  });
}

template <class T>
class SimtRope : public ::testing::Test {};
using Types = ::testing::Types<float, bf16>;
TYPED_TEST_SUITE(SimtRope, Types);

TYPED_TEST(SimtRope, BothDirectionsAreTheirTwins) {
  for (const bool inverse : {false, true})
    for (const Shape& s : kShapes) {
      SCOPED_TRACE(::testing::Message() << s.B << ", " << s.T << ", " << s.H << ", " << s.E);
      is_its_twin<TypeParam>(s, inverse);
    }
}

TYPED_TEST(SimtRope, TableIsItsTwin) {
  using T = TypeParam;
  constexpr int64_t kPositions = 37, kHalf = 24, kGap = 3;
  Twin<T> cos(kPositions * (kHalf + kGap)), sin(cos.size());
  cos.fill(0.25), sin.fill(0.25);
  const auto args = [&]<class S>(S) {
    return RopeFill<S>{.table = {cos.template mat<S>(kPositions, kHalf, kHalf + kGap),
                                 sin.template mat<S>(kPositions, kHalf, kHalf + kGap)},
                       .base = 500};
  };
  cpu::rope_fill<double>({}, args(double()));
  simt::for_every_schedule([&](Stream stream) {
    poison(args(T()).table.cos), poison(args(T()).table.sin);
    cuda::rope_fill<T>(stream, args(T()));
    cos.expect_near(kEpsilon<T> + kEpsilon<float>, "cos");  // from double by way of float
    sin.expect_near(kEpsilon<T> + kEpsilon<float>, "sin");
  });
}

TEST(SimtRopeShapes, WrongOnesAreNamed) {
  Twin<bf16> x(16), table(16);
  const RopeTable<const bf16> four{table.mat<bf16>(2, 4), table.mat<bf16>(2, 4)};
  EXPECT_THROW(cuda::rope<bf16>({}, {.x = heads_BTHD(&x[0], 1, 2, 1, 8), .table = four, .start = 1}),
               ShapeError);
  EXPECT_THROW(cuda::rope<bf16>({}, {.x = heads_BTHD(&x[0], 1, 2, 1, 6), .table = four}), ShapeError);
  EXPECT_THROW(cuda::rope_fill<bf16>({}, {.table = {table.mat<bf16>(2, 4), table.mat<bf16>(2, 3)}}),
               ShapeError);
}

}  // namespace
}  // namespace saslm
