#include "core/error.h"
#include "kernels/activation.h"
#include "simt/views.h"

namespace saslm {
namespace {

constexpr unsigned kAll = ~0u;

struct Shape {
  int64_t N, F;
  int64_t gap = 0;   // elements between the rows
  unsigned odd = 0;  // views that start one element late, by the bits of View
};
enum View { kGate, kUp, kDy, kY, kDgate, kDup, kViews };

// One element; ragged; packs, in less than one pass of a block and in several; unaligned by base and by
// stride.
const Shape kShapes[] = {{1, 1},       {5, 7, 2},        {3, 40, 8}, {2, 2056},
                         {2, 1100, 1}, {3, 48, 0, kAll}, {4, 32, 3}};
const Activation kKinds[] = {Activation::swiglu, Activation::gelu, Activation::relu2};

// exp2 of a rounded product, whose error grows with |z|, a reciprocal root squared, and some products; then
// the result is rounded.
template <class T>
constexpr double kTolerance = kEpsilon<T> + 32 * kEpsilon<float>;

template <class T>
class Activations {
 public:
  Activations(const Shape& shape, Activation kind)
      : s_(shape), kind_(kind), gate(size()), up(size()), dy(size()), y(size()), dgate(size()), dup(size()) {
    gate.draw(1, 2), up.draw(2, 2), dy.draw(3);
    for (Twin<T>* t : {&y, &dgate, &dup}) t->fill(kBetweenRows);
  }

  template <class S>
  ActivationFwd<S> fwd() {
    return {.kind = kind_, .y = mat<S>(y, kY), .gate = gated(mat<S>(gate, kGate)), .up = mat<S>(up, kUp)};
  }
  template <class S>
  ActivationBwd<S> bwd() {
    return {.kind = kind_,
            .dgate = gated(mat<S>(dgate, kDgate)),
            .dup = mat<S>(dup, kDup),
            .dy = mat<S>(dy, kDy),
            .gate = gated(mat<S>(gate, kGate)),
            .up = mat<S>(up, kUp)};
  }

  void run_fwd() {
    cpu::activation_fwd<double>({}, fwd<double>());
    SameBits<T> same_y;
    simt::for_every_schedule([&](Stream stream) {
      poison(mat<T>(y, kY));
      cuda::activation_fwd<T>(stream, fwd<T>());
      y.expect_near(kTolerance<T>, "y");
      same_y.expect(y, "y");
    });
  }

  void run_bwd() {
    cpu::activation_bwd<double>({}, bwd<double>());
    SameBits<T> same_dgate, same_dup;
    simt::for_every_schedule([&](Stream stream) {
      if (is_gated()) poison(mat<T>(dgate, kDgate));
      poison(mat<T>(dup, kDup));
      cuda::activation_bwd<T>(stream, bwd<T>());
      dgate.expect_near(kTolerance<T>, "dgate");
      dup.expect_near(kTolerance<T>, "dup");
      same_dgate.expect(dgate, "dgate"), same_dup.expect(dup, "dup");
    });
  }

  // After run_bwd: gradients written over the inputs are the same.
  void run_bwd_in_place() {
    ActivationBwd<T> a = bwd<T>();
    a.dgate = gated(mat<T>(gate, kGate)), a.dup = mat<T>(up, kUp);
    cuda::activation_bwd<T>({}, a);
    for (int64_t r = 0; r < s_.N; ++r)
      for (int64_t c = 0; c < s_.F; ++c) {
        if (is_gated()) {
          ASSERT_EQ(float(a.dgate[r][c]), float(mat<T>(dgate, kDgate)[r][c])) << r << ", " << c;
        }
        ASSERT_EQ(float(a.dup[r][c]), float(mat<T>(dup, kDup)[r][c])) << r << ", " << c;
      }
  }

 private:
  static constexpr double kBetweenRows = 0.25;

  int64_t size() const { return s_.N * (s_.F + s_.gap) + 1; }
  bool is_gated() const { return kind_ == Activation::swiglu; }
  template <class S>
  Mat<S> mat(Twin<T>& t, View view) {
    return t.template mat<S>(s_.N, s_.F, s_.F + s_.gap, s_.odd >> view & 1);
  }
  template <class S>
  Mat<S> gated(Mat<S> m) const {
    return is_gated() ? m : Mat<S>{};
  }

  Shape s_;
  Activation kind_;

 public:
  Twin<T> gate, up, dy, y, dgate, dup;
};

template <class T>
class SimtActivation : public ::testing::Test {
 protected:
  template <class Test>
  void for_every_case(Test test) {
    for (const Activation kind : kKinds)
      for (const Shape& shape : kShapes) {
        SCOPED_TRACE(::testing::Message()
                     << "kind " << int(kind) << " (" << shape.N << ", " << shape.F << ")");
        Activations<T> a(shape, kind);
        test(a);
      }
  }
};
using Types = ::testing::Types<float, bf16>;
TYPED_TEST_SUITE(SimtActivation, Types);

TYPED_TEST(SimtActivation, ForwardIsItsTwin) {
  this->for_every_case([](auto& a) { a.run_fwd(); });
}

TYPED_TEST(SimtActivation, BackwardIsItsTwinAlsoInPlace) {
  this->for_every_case([](auto& a) { a.run_bwd(), a.run_bwd_in_place(); });
}

TYPED_TEST(SimtActivation, AnyViewMayBeUnaligned) {
  for (int view = 0; view < kViews; ++view) {
    SCOPED_TRACE(view);
    Activations<TypeParam> a({3, 40, 0, 1u << view}, Activation::swiglu);
    a.run_fwd();
    a.run_bwd();
  }
}

TYPED_TEST(SimtActivation, LargeInputsNeitherOverflowNorCancel) {
  using T = TypeParam;
  for (const Activation kind : {Activation::swiglu, Activation::gelu}) {
    const double values[] = {-1000, -90, -12, -1, 0, 1, 12, 90, 1000};
    Activations<T> a({1, 9}, kind);
    a.dy.fill(1);
    for (int i = 0; i < 9; ++i)
      a.gate.set(i, values[i]), a.up.set(i, kind == Activation::gelu ? values[i] : 2);
    cpu::activation_fwd<double>({}, a.template fwd<double>());
    cuda::activation_fwd<T>({}, a.template fwd<T>());
    cpu::activation_bwd<double>({}, a.template bwd<double>());
    cuda::activation_bwd<T>({}, a.template bwd<T>());
    for (Twin<T>* t : {&a.y, &a.dgate, &a.dup})
      for (int i = 0; i < 9; ++i) {  // exp2's argument is rounded: |z| log2(e) of 2^-24
        const double want = t->twin(i), tolerance = kTolerance<T> + 200 * kEpsilon<float>;
        EXPECT_NEAR(float((*t)[i]), want, tolerance * std::abs(want) + 1e-28)
            << int(kind) << ", " << values[i];
      }
  }
}

TYPED_TEST(SimtActivation, NoRowsAreNoWork) {
  Activations<TypeParam> a({0, 8}, Activation::swiglu);
  cuda::activation_fwd({}, a.template fwd<TypeParam>());
  cuda::activation_bwd({}, a.template bwd<TypeParam>());
}

TEST(SimtActivationShapes, WrongOnesAreNamed) {
  Activations<bf16> a({4, 8}, Activation::swiglu);
  ActivationFwd<bf16> fwd = a.fwd<bf16>();
  fwd.gate.cols = 7;
  EXPECT_THROW(cuda::activation_fwd({}, fwd), ShapeError);
  ActivationBwd<bf16> bwd = a.bwd<bf16>();
  bwd.dgate = {};
  EXPECT_THROW(cuda::activation_bwd({}, bwd), ShapeError);
}

}  // namespace
}  // namespace saslm
