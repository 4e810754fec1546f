// ex2, lg2, rcp, rsqrt, sqrt, sin, cos, tanh (PTX ISA, "Floating Point Instructions").
//
// The hardware's approximations have errors of up to 2 units in the last place (ex2, rsqrt; lg2 2^-22
// absolute near 1). Here they are rounded results, or with Settings::rough (ex2, lg2, rsqrt) off by up to 2
// units, at random but the same for the same argument. .ftz flushes subnormal arguments and results to zero.
#include <cmath>

#include "ptx/machine/instructions/decoding.h"
#include "ptx/machine/instructions/lanes.h"

namespace ptx {
namespace {

float flushed(float x) {
  return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x;
}

float roughened(float r, unsigned seed) {
  if (seed == 0 || r == 0 || !std::isfinite(r)) return r;
  const auto bits = __builtin_bit_cast(uint32_t, r);
  uint32_t h = (bits ^ seed * 0x9e3779b9u) * 0x85ebca6bu;
  h ^= h >> 13;
  h *= 0xc2b2ae35u;
  const auto off = __builtin_bit_cast(float, bits + (h >> 16) % 5 - 2);
  return std::isfinite(off) ? off : r;
}

struct Exp2 {
  static constexpr bool kRough = true;
  float operator()(float a) const { return std::exp2(a); }
};
struct Log2 {
  static constexpr bool kRough = true;
  float operator()(float a) const { return float(std::log2(double(a))); }
};
struct InverseSqrt {
  static constexpr bool kRough = true;
  float operator()(float a) const { return float(1.0 / std::sqrt(double(a))); }
};
struct Reciprocal {
  static constexpr bool kRough = false;
  template <class T>
  T operator()(T a) const {
    return 1 / a;
  }
};
struct SquareRoot {
  static constexpr bool kRough = false;
  template <class T>
  T operator()(T a) const {
    return std::sqrt(a);
  }
};
struct Sine {
  static constexpr bool kRough = false;
  float operator()(float a) const { return float(std::sin(double(a))); }
};
struct Cosine {
  static constexpr bool kRough = false;
  float operator()(float a) const { return float(std::cos(double(a))); }
};
struct HyperbolicTangent {
  static constexpr bool kRough = false;
  float operator()(float a) const { return float(std::tanh(double(a))); }
};
struct ReciprocalApprox64 {  // rcp.approx.ftz.f64: the low 32 bits are zero
  double operator()(double a) const {
    return __builtin_bit_cast(double, __builtin_bit_cast(uint64_t, 1.0 / a) & 0xffffffff00000000u);
  }
};

template <class F, bool ftz>
void run_approximation(Warp& w, const Instr& in, uint32_t lanes) {
  const auto* const a = w.at<uint32_t>(in.op[1]);
  const unsigned seed = F::kRough ? w.settings().rough : 0;
  set_lanes<float>(w, in.op[0], lanes, [&](int l) {
    const auto x = from_slot<float>(a[l]);
    const float r = roughened(F()(ftz ? flushed(x) : x), seed);
    return ftz ? flushed(r) : r;
  });
}

template <class F>
void decode_approximation(Decoding& d) {
  d.refuse_unless(d.is_f32());
  d.operands(4, 1);
  d.in.counted = d.base == "ex2" ? Class::ex2 : Class::sfu;
  d.in.execute = d.s.has("ftz") ? run_approximation<F, true> : run_approximation<F, false>;
}

void decode_reciprocal(Decoding& d) {
  if (d.is_f32()) return decode_approximation<Reciprocal>(d);
  d.refuse_unless(d.type == "f64");
  d.operands(8, 1);
  d.in.execute = d.s.has("approx") ? run_unary<double, double, ReciprocalApprox64>
                                   : run_unary<double, double, Reciprocal>;
}

void decode_square_root(Decoding& d) {
  if (d.is_f32()) return decode_approximation<SquareRoot>(d);
  d.refuse_unless(d.type == "f64");
  d.operands(8, 1);
  d.in.execute = run_unary<double, double, SquareRoot>;
}

}  // namespace

void add_approximations(Decoders& all) {
  all["ex2"] = decode_approximation<Exp2>;
  all["lg2"] = decode_approximation<Log2>;
  all["rsqrt"] = decode_approximation<InverseSqrt>;
  all["rcp"] = decode_reciprocal;
  all["sqrt"] = decode_square_root;
  all["sin"] = decode_approximation<Sine>;
  all["cos"] = decode_approximation<Cosine>;
  all["tanh"] = decode_approximation<HyperbolicTangent>;
}

}  // namespace ptx
