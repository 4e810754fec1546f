#include "kernels/head_embedding.h"
#include "tests/support.h"

namespace saslm {
namespace {

using test::Buffer;

constexpr HeadEmbeddingForm kForms[] = {HeadEmbeddingForm::add, HeadEmbeddingForm::mul};

// Every tensor the operation touches; rows lie `gap` apart. de starts at 1, outputs and scratch at NaN.
template <class T>
struct HeadEmbeddingCase {
  HeadEmbeddingForm form;
  int64_t B, T_, H, D;
  Buffer<T> y, x, e, dy, dx, de, partial;

  HeadEmbeddingCase(HeadEmbeddingForm f, int64_t B_, int64_t t, int64_t h, int64_t d, int64_t gap = 0)
      : form(f),
        B(B_),
        T_(t),
        H(h),
        D(d),
        y(B * t * h, d, gap),
        x(B * t, d, gap),
        e(h, d, gap),
        dy(B * t * h, d, gap),
        dx(B * t, d, gap),
        de(h, d, gap),
        partial(head_embedding_bwd_partials(B * t), h * d, gap) {
    x.fill_normal("x"), e.fill_normal("e"), dy.fill_normal("dy"), de.fill(1);
  }
  Heads<T> view(Buffer<T>& buffer, int64_t heads) const {
    const int64_t row = buffer.mat().stride;
    return {buffer.data(), B, T_, heads, D, T_ * heads * row, heads * row, row};
  }
  HeadEmbeddingFwd<T> fwd() { return {.form = form, .y = view(y, H), .x = view(x, 1), .e = e.mat()}; }
  HeadEmbeddingBwd<T> bwd() {
    return {.form = form,
            .dx = view(dx, 1),
            .de = de.mat(),
            .dy = view(dy, H),
            .x = view(x, 1),
            .e = e.mat(),
            .partial = partial.mat()};
  }
  void run_both() {
    cpu::head_embedding_fwd<T>({}, fwd());
    cpu::head_embedding_bwd<T>({}, bwd());
  }
};

// Two tokens (1, 2) and (3, -1), two heads with embeddings (10, 20) and (0, -3).
HeadEmbeddingCase<float> two_heads(HeadEmbeddingForm form) {
  HeadEmbeddingCase<float> k(form, 1, 2, 2, 2);
  const float x[] = {1, 2, 3, -1}, e[] = {10, 20, 0, -3}, dy[] = {1, 2, 3, 4, 5, 6, 7, 8};
  for (int64_t i = 0; i < 4; ++i) k.x[i] = x[i], k.e[i] = e[i];
  for (int64_t i = 0; i < 8; ++i) k.dy[i] = dy[i];
  k.run_both();
  return k;
}

void expect_values(const char* name, Buffer<float>& got, const std::vector<float>& wanted) {
  for (int64_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i], wanted[size_t(i)]) << name << "[" << i << "]";
}

TEST(HeadEmbedding, AddByHand) {
  HeadEmbeddingCase<float> k = two_heads(HeadEmbeddingForm::add);
  expect_values("y", k.y, {11, 22, 1, -1, 13, 19, 3, -4});
  expect_values("dx", k.dx, {1 + 3, 2 + 4, 5 + 7, 6 + 8});
  expect_values("de", k.de, {1 + 1 + 5, 1 + 2 + 6, 1 + 3 + 7, 1 + 4 + 8});  // to the 1 that was there
}

TEST(HeadEmbedding, MulByHand) {
  HeadEmbeddingCase<float> k = two_heads(HeadEmbeddingForm::mul);
  expect_values("y", k.y, {11, 42, 1, -4, 33, -21, 3, 2});
  expect_values("dx", k.dx, {1 * 11 + 3, 2 * 21 + 4 * -2, 5 * 11 + 7, 6 * 21 + 8 * -2});
  expect_values("de", k.de, {1 + 1 * 1 + 5 * 3, 1 + 2 * 2 + 6 * -1, 1 + 3 * 1 + 7 * 3, 1 + 4 * 2 + 8 * -1});
}

// A sum in double, beside the bound of one in T: each of its n terms passes through at most n + 2 roundings.
struct HeadSum {
  double value = 0, size = 0;
  int64_t n = 0;
  void operator+=(double term) { value += term, size += std::abs(term), ++n; }
  template <class T>
  void expect_near(T got, const char* name, int64_t row, int64_t d) const {
    ASSERT_NEAR(got, value, test::kEps<T> * double(n + 2) * size) << name << "(" << row << ", " << d << ")";
  }
};

template <class T>
void equals_formula(HeadEmbeddingForm form, int64_t t, int64_t H, int64_t D, int64_t gap) {
  SCOPED_TRACE(testing::Message() << "T " << t << " H " << H << " D " << D << " gap " << gap << " form "
                                  << int(form));
  HeadEmbeddingCase<T> k(form, 2, t, H, D, gap);
  k.run_both();
  const bool mul = form == HeadEmbeddingForm::mul;
  for (int64_t d = 0; d < D; ++d) {
    std::vector<HeadSum> dx(size_t(2 * t));
    for (int64_t h = 0; h < H; ++h) {
      const double e = double(k.e(h, d));
      HeadSum de;
      de += 1;  // what was there
      for (int64_t n = 0; n < 2 * t; ++n) {
        const double x = double(k.x(n, d)), dy = double(k.dy(n * H + h, d));
        HeadSum y;
        y += x, y += mul ? x * e : e;
        y.expect_near(k.y(n * H + h, d), "y", n * H + h, d);
        dx[size_t(n)] += mul ? dy * (1 + e) : dy;
        de += mul ? dy * x : dy;
      }
      de.expect_near(k.de(h, d), "de", h, d);
    }
    for (int64_t n = 0; n < 2 * t; ++n) dx[size_t(n)].expect_near(k.dx(n, d), "dx", n, d);
  }
  EXPECT_TRUE(k.y.gaps_untouched() && k.dx.gaps_untouched() && k.de.gaps_untouched());
  EXPECT_TRUE(k.partial.gaps_untouched());
}
TEST(HeadEmbedding, EqualsTheFormulaForAllShapes) {
  for (const HeadEmbeddingForm form : kForms)
    for (const int64_t t : {1, 19, 70})
      for (const int64_t H : {1, 3, 16})
        for (const int64_t D : {1, 10, 16, 64})
          for (const int64_t gap : {0, 3}) {
            equals_formula<float>(form, t, H, D, gap);
            equals_formula<double>(form, t, H, D, gap);
          }
}

TEST(HeadEmbedding, BackwardIsTheSlopeOfForward) {
  for (const HeadEmbeddingForm form : kForms) {
    HeadEmbeddingCase<double> k(form, 2, 3, 4, 5);
    k.de.fill(0);
    k.run_both();
    const auto dot = [&] {
      cpu::head_embedding_fwd<double>({}, k.fwd());
      double sum = 0;
      for (int64_t i = 0; i < k.y.size(); ++i) sum += k.y[i] * k.dy[i];
      return sum;
    };
    test::expect_slopes("dx", k.dx, k.x, dot);
    test::expect_slopes("de", k.de, k.e, dot);
  }
}

TEST(HeadEmbedding, SameBitsWithOneAndTwoThreads) {
  for (const HeadEmbeddingForm form : kForms) {
    const auto run = [&] {
      HeadEmbeddingCase<float> k(form, 3, 111, 13, 20);
      k.run_both();
      return k;
    };
    HeadEmbeddingCase<float> one = test::with_threads(1, run), two = test::with_threads(2, run);
    EXPECT_TRUE(one.y.same_bits(two.y) && one.dx.same_bits(two.dx) && one.de.same_bits(two.de));
  }
}

TEST(HeadEmbedding, WrongShapesAreNamed) {
  HeadEmbeddingCase<float> k(HeadEmbeddingForm::add, 1, 2, 3, 4);
  const auto fwd = [&](const auto& change) {
    HeadEmbeddingFwd<float> a = k.fwd();
    change(a);
    cpu::head_embedding_fwd<float>({}, a);
  };
  test::expect_shape_error([&] { fwd([&](auto& a) { a.x = k.view(k.y, 3); }); },
                           {"head_embedding_fwd: x", "(1, 2, 1, 4)", "(1, 2, 3, 4)"});
  test::expect_shape_error([&] { fwd([](auto& a) { a.e.rows = 2; }); },
                           {"head_embedding_fwd: e", "(3, 4)", "(2, 4)"});
  const auto bwd = [&](const auto& change) {
    HeadEmbeddingBwd<float> a = k.bwd();
    change(a);
    cpu::head_embedding_bwd<float>({}, a);
  };
  test::expect_shape_error([&] { bwd([](auto& a) { a.dx = {}; }); }, {"head_embedding_bwd: dx", "absent"});
  test::expect_shape_error([&] { bwd([](auto& a) { a.x.T = 1; }); },
                           {"head_embedding_bwd: x", "(1, 2, 1, 4)", "(1, 1, 1, 4)"});
  test::expect_shape_error([&] { bwd([](auto& a) { a.de.cols = 3; }); },
                           {"head_embedding_bwd: de", "(3, 4)", "(3, 3)"});
  test::expect_shape_error([&] { bwd([](auto& a) { a.partial.rows = 2; }); },
                           {"head_embedding_bwd: partial", "(1, 12)", "(2, 12)"});
}

}  // namespace
}  // namespace saslm
