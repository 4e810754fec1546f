// add, sub, mul, mad, fma, div, rem, min, max, neg, abs, copysign (PTX ISA, "Integer Arithmetic
// Instructions", "Floating Point Instructions"). Floating point rounds to the nearest even and keeps
// subnormals, as .rn without .ftz; div.approx and div.full give the rounded quotient.
#include <cfenv>

#include "ptx/machine/instructions/decoding.h"
#include "ptx/machine/instructions/lanes.h"
#include "ptx/machine/instructions/operations.h"

namespace ptx {
namespace {

struct MultiplyHigh {
  template <class T>
  T operator()(T a, T b) const {
    constexpr bool is_signed = std::is_signed_v<T>;
    using Wide =
        std::conditional_t<sizeof(T) == 8, std::conditional_t<is_signed, __int128, unsigned __int128>,
                           std::conditional_t<is_signed, int64_t, uint64_t>>;
    return T((Wide(a) * Wide(b)) >> (8 * sizeof(T)));
  }
};

struct Remainder {
  template <class T>
  T operator()(T a, T b) const {
    if (b == 0) return a;
    if (std::is_signed_v<T> && b == T(-1)) return 0;
    return T(a % b);
  }
};

struct Negate {
  template <class T>
  T operator()(T a) const {
    if constexpr (std::is_integral_v<T>) {
      return T(0 - Unsigned<T>(a));
    } else {
      return -a;
    }
  }
};

struct Absolute {
  template <class T>
  T operator()(T a) const {
    if constexpr (std::is_integral_v<T>) {
      return a < 0 ? T(0 - Unsigned<T>(a)) : a;
    } else {
      return std::fabs(a);
    }
  }
};

struct CopySign {  // a's sign to b's size
  template <class T>
  T operator()(T a, T b) const {
    return std::copysign(b, a);
  }
};

struct MultiplyAdd {  // mad.lo
  template <class T>
  T operator()(T a, T b, T c) const {
    return T(uint64_t(a) * uint64_t(b) + uint64_t(c));
  }
};

struct MultiplyAddHigh {
  template <class T>
  T operator()(T a, T b, T c) const {
    return Add()(MultiplyHigh()(a, b), c);
  }
};

template <class W>
struct MultiplyWide {
  template <class T>
  W operator()(T a, T b) const {
    return W(a) * W(b);
  }
};

template <class W>
struct MultiplyAddWide {
  template <class T>
  W operator()(T a, T b, W c) const {
    return Add()(W(W(a) * W(b)), c);
  }
};

struct Fma {
  template <class T>
  T operator()(T a, T b, T c) const {
    return std::fma(a, b, c);
  }
};

template <int round>
struct FmaRounded {
  float operator()(float a, float b, float c) const {
    const int before = std::fegetround();
    std::fesetround(round);
    volatile float x = a, y = b, z = c;
    volatile float r = std::fma(x, y, z);
    std::fesetround(before);
    return r;
  }
};

void decode_add(Decoding& d) {
  if (decode_carry(d) || decode_packed(d)) return;
  d.refuse_unless(d.with_number([&](auto t) {
    using T = decltype(t);
    d.operands(d.width, 2);
    d.in.execute = d.base == "add" ? run_binary<T, Add> : run_binary<T, Subtract>;
  }));
}

template <class W, class T>
void decode_wide_of(Decoding& d, bool adds) {
  d.destination(0, sizeof(W));
  d.source(1, 4, 1);
  d.source(2, 4, 2);
  if (adds) d.source(3, sizeof(W), 3);
  d.in.execute = adds ? run_ternary<W, T, W, MultiplyAddWide<W>> : run_mixed<W, T, T, MultiplyWide<W>>;
}

void decode_wide(Decoding& d, bool adds) {
  if (d.type == "u16") {
    decode_wide_of<uint32_t, uint16_t>(d, adds);
  } else if (d.type == "s16") {
    decode_wide_of<int32_t, int16_t>(d, adds);
  } else if (d.type == "u32") {
    decode_wide_of<uint64_t, uint32_t>(d, adds);
  } else if (d.type == "s32") {
    decode_wide_of<int64_t, int32_t>(d, adds);
  } else {
    d.unknown();
  }
}

void decode_multiply(Decoding& d) {
  if (decode_packed(d)) return;
  if (d.is_float()) {
    d.operands(d.width, 2);
    d.in.execute = d.is_f32() ? run_binary<float, Multiply> : run_binary<double, Multiply>;
    return;
  }
  if (d.s.has("wide")) return decode_wide(d, false);
  const bool high = d.s.has("hi");
  d.refuse_unless(high || d.s.has("lo"));
  d.refuse_unless(d.with_integer([&](auto t) {
    using T = decltype(t);
    d.operands(d.width, 2);
    d.in.execute = high ? run_binary<T, MultiplyHigh> : run_binary<T, Multiply>;
  }));
}

void use_fma(Decoding& d) {
  d.operands(d.width, 3);
  d.in.counted = d.is_f32() ? Class::fma : Class::real64;
  d.in.execute =
      d.is_f32() ? run_ternary<float, float, float, Fma> : run_ternary<double, double, double, Fma>;
}

void decode_mad(Decoding& d) {
  if (d.is_float()) return use_fma(d);
  if (decode_carry(d)) return;
  if (d.s.has("wide")) return decode_wide(d, true);
  const bool high = d.s.has("hi");
  d.refuse_unless(high || d.s.has("lo"));
  d.refuse_unless(d.with_integer([&](auto t) {
    using T = decltype(t);
    d.operands(d.width, 3);
    d.in.execute = high ? run_ternary<T, T, T, MultiplyAddHigh> : run_ternary<T, T, T, MultiplyAdd>;
  }));
}

void decode_fma(Decoding& d) {
  if (decode_packed(d)) return;
  d.refuse_unless(d.is_float());
  use_fma(d);
  if (d.s.has("rn")) return;
  d.refuse_unless(d.is_f32());
  if (d.s.has("rm")) {
    d.in.execute = run_ternary<float, float, float, FmaRounded<FE_DOWNWARD>>;
  } else if (d.s.has("rz")) {
    d.in.execute = run_ternary<float, float, float, FmaRounded<FE_TOWARDZERO>>;
  } else if (d.s.has("rp")) {
    d.in.execute = run_ternary<float, float, float, FmaRounded<FE_UPWARD>>;
  } else {
    d.unknown();
  }
}

void decode_divide(Decoding& d) {
  d.refuse_unless(d.with_number([&](auto t) {
    d.operands(d.width, 2);
    d.in.execute = run_binary<decltype(t), Divide>;
  }));
  if (d.is_f32() && d.s.has("full")) d.in.counted = Class::sfu;
}

void decode_remainder(Decoding& d) {
  d.refuse_unless(d.with_integer([&](auto t) {
    d.operands(d.width, 2);
    d.in.execute = run_binary<decltype(t), Remainder>;
  }));
}

void decode_extreme(Decoding& d) {
  d.refuse_unless(!d.s.has("NaN") && !d.s.has("xorsign") && d.s.args.size() == 3);
  if (decode_packed(d)) return;
  d.refuse_unless(d.with_number([&](auto t) {
    using T = decltype(t);
    d.operands(d.width, 2);
    d.in.execute = d.base == "min" ? run_binary<T, Minimum> : run_binary<T, Maximum>;
  }));
}

void decode_copysign(Decoding& d) {
  d.refuse_unless(d.is_float() && d.with_number([&](auto t) {
    using T = decltype(t);
    d.operands(d.width, 2);
    if constexpr (std::is_floating_point_v<T>) d.in.execute = run_binary<T, CopySign>;
  }));
}

void decode_sign(Decoding& d) {
  d.refuse_unless(d.with_number([&](auto t) {
    using T = decltype(t);
    d.operands(d.width, 1);
    if (d.base == "neg") {
      d.in.execute = run_unary<T, T, Negate>;
    } else if constexpr (!std::is_unsigned_v<T>) {
      d.in.execute = run_unary<T, T, Absolute>;
    } else {
      d.unknown();
    }
  }));
}

}  // namespace

void add_arithmetic(Decoders& all) {
  all["add"] = all["sub"] = decode_add;
  all["mul"] = decode_multiply;
  all["mad"] = decode_mad;
  all["fma"] = decode_fma;
  all["div"] = decode_divide;
  all["rem"] = decode_remainder;
  all["min"] = all["max"] = decode_extreme;
  all["neg"] = all["abs"] = decode_sign;
  all["copysign"] = decode_copysign;
}

}  // namespace ptx
