// cvt (PTX ISA, "Data Movement and Conversion Instructions: cvt").
//
// cvt{.round}{.sat}.to.from d, a: between integers, f32, f64, bf16, f16. Floats to integers are clamped to
// the destination's range, NaN becomes 0; integers to narrower integers are cut off, or clamped with .sat;
// .sat of floats clamps to [0, 1], NaN to 0. cvt.rn{.relu}.{bf16x2,f16x2}.f32 d, a, b: a into the upper half,
// b into the lower. bf16 and f16 round to the nearest only; from f64 they round twice.
#include <algorithm>
#include <cfenv>
#include <cmath>
#include <limits>

#include "ptx/machine/instructions/decoding.h"
#include "ptx/machine/instructions/half.h"
#include "ptx/machine/instructions/lanes.h"

namespace ptx {
namespace {

struct Truncate {
  uint32_t operator()(uint64_t a) const { return uint32_t(a); }
};
struct Extend {
  uint64_t operator()(uint32_t a) const { return a; }
};
struct ExtendSigned {
  int64_t operator()(int32_t a) const { return a; }
};

enum PairMode : uint8_t { kRelu = 1, kF16 = 2 };

void run_pair(Warp& w, const Instr& in, uint32_t lanes) {
  const auto *a = w.at<uint32_t>(in.op[1]), *b = w.at<uint32_t>(in.op[2]);
  const auto half = [&](uint32_t slot) -> uint32_t {
    auto x = from_slot<float>(slot);
    if ((in.mode & kRelu) && x <= 0) x = 0;
    return in.mode & kF16 ? to_f16(x) : to_bf16(x);
  };
  set_lanes<uint32_t>(w, in.op[0], lanes, [&](int l) { return half(a[l]) << 16 | half(b[l]); });
}

bool is_float(Number n) {
  return n >= Number::f32;
}

double rounded(double x, char how) {
  switch (how) {
    case 'z':
      return std::trunc(x);
    case 'm':
      return std::floor(x);
    case 'p':
      return std::ceil(x);
    default:
      return std::nearbyint(x);
  }
}

int rounding_mode(char how) {
  return how == 'z' ? FE_TOWARDZERO : how == 'm' ? FE_DOWNWARD : how == 'p' ? FE_UPWARD : FE_TONEAREST;
}

template <class From>
float to_float(From from, char how) {
  const int mode = rounding_mode(how), before = std::fegetround();
  if (mode != before) std::fesetround(mode);
  volatile From x = from;
  volatile float f = float(x);
  if (mode != before) std::fesetround(before);
  return f;
}

struct IntegerRange {
  __int128 low, high;
};

IntegerRange range_of(Number n) {
  const auto of = [](auto t) {
    using T = decltype(t);
    return IntegerRange{std::numeric_limits<T>::min(), std::numeric_limits<T>::max()};
  };
  switch (n) {
    case Number::u8:
      return of(uint8_t());
    case Number::s8:
      return of(int8_t());
    case Number::u16:
      return of(uint16_t());
    case Number::s16:
      return of(int16_t());
    case Number::u32:
      return of(uint32_t());
    case Number::s32:
      return of(int32_t());
    case Number::u64:
      return of(uint64_t());
    default:
      return of(int64_t());
  }
}

__int128 integer_from(Number type, uint64_t raw) {
  switch (type) {
    case Number::u8:
      return uint8_t(raw);
    case Number::s8:
      return int8_t(raw);
    case Number::u16:
      return uint16_t(raw);
    case Number::s16:
      return int16_t(raw);
    case Number::u32:
      return uint32_t(raw);
    case Number::s32:
      return int32_t(raw);
    case Number::u64:
      return raw;
    default:
      return int64_t(raw);
  }
}

double float_from(Number type, uint64_t raw) {
  switch (type) {
    case Number::f32:
      return __builtin_bit_cast(float, uint32_t(raw));
    case Number::f64:
      return __builtin_bit_cast(double, raw);
    case Number::bf16:
      return from_bf16(uint16_t(raw));
    default:
      return from_f16(uint16_t(raw));
  }
}

// The bits of an integer that lies in the type's range or is cut off to it. Signed ones fill a register of 8
// bytes with their sign; one of 4 bytes too, but for s16, whose upper half stays 0.
uint64_t integer_bits(Number type, __int128 n, int register_width) {
  switch (type) {
    case Number::u8:
      return uint8_t(n);
    case Number::s8:
      return uint64_t(int64_t(int8_t(n)));
    case Number::u16:
      return uint16_t(n);
    case Number::s16:
      return register_width == 4 ? uint64_t(uint16_t(n)) : uint64_t(int64_t(int16_t(n)));
    case Number::u32:
      return uint32_t(n);
    case Number::s32:
      return uint64_t(int64_t(int32_t(n)));
    default:
      return uint64_t(n);
  }
}

__int128 clamped(double x, char round, const IntegerRange& range) {
  if (x != x) return 0;
  x = rounded(x, round);
  if (x <= double(range.low)) return range.low;
  if (x >= double(range.high)) return range.high;
  return __int128(x);
}

uint64_t to_integer(const Conversion& c, uint64_t raw, int register_width) {
  const IntegerRange range = range_of(c.to);
  if (is_float(c.from))
    return integer_bits(c.to, clamped(float_from(c.from, raw), c.round, range), register_width);
  __int128 n = integer_from(c.from, raw);
  if (c.saturate) n = std::clamp(n, range.low, range.high);
  return integer_bits(c.to, n, register_width);
}

uint64_t float_to_float(const Conversion& c, uint64_t raw) {
  double x = float_from(c.from, raw);
  if (c.to_integer) x = rounded(x, c.round);
  if (c.saturate) x = x != x ? 0 : std::clamp(x, 0.0, 1.0);
  switch (c.to) {
    case Number::f32:
      return __builtin_bit_cast(uint32_t, to_float(x, c.round));
    case Number::f64:
      return __builtin_bit_cast(uint64_t, x);
    case Number::bf16:
      return to_bf16(float(x));
    default:
      return to_f16(float(x));
  }
}

uint64_t integer_to_float(const Conversion& c, uint64_t raw) {
  const __int128 n = integer_from(c.from, raw);
  const bool large = c.from == Number::u64;
  switch (c.to) {
    case Number::f32:
      return __builtin_bit_cast(uint32_t,
                                large ? to_float(uint64_t(n), c.round) : to_float(int64_t(n), c.round));
    case Number::f64:
      return __builtin_bit_cast(uint64_t, large ? double(uint64_t(n)) : double(int64_t(n)));
    case Number::bf16:
      return to_bf16(float(int64_t(n)));
    default:
      return to_f16(float(int64_t(n)));
  }
}

void run_conversion(Warp& w, const Instr& in, uint32_t lanes) {
  const Conversion c = w.k->conversions[size_t(in.extra)];
  for_lanes(lanes, [&](int l) {
    const uint64_t raw = w.value(in.op[1], l);
    const uint64_t bits = !is_float(c.to)    ? to_integer(c, raw, in.op[0].width)
                          : is_float(c.from) ? float_to_float(c, raw)
                                             : integer_to_float(c, raw);
    w.set_value(in.op[0], l, bits);
  });
}

Number number_type(const Decoding& d, std::string_view type) {
  static const std::unordered_map<std::string_view, Number> types = {
      {"u8", Number::u8},   {"s8", Number::s8},   {"u16", Number::u16},   {"s16", Number::s16},
      {"u32", Number::u32}, {"s32", Number::s32}, {"u64", Number::u64},   {"s64", Number::s64},
      {"f32", Number::f32}, {"f64", Number::f64}, {"bf16", Number::bf16}, {"f16", Number::f16}};
  const auto it = types.find(type);
  d.refuse_unless(it != types.end());
  return it->second;
}

void decode_pair(Decoding& d, std::string_view to) {
  d.refuse_unless(d.s.has("rn") && d.is_f32() && d.s.parts.size() == (d.s.has("relu") ? 5 : 4));
  d.operands(4, 2);
  d.in.mode = uint8_t((d.s.has("relu") ? kRelu : 0) | (to == "f16x2" ? kF16 : 0));
  d.in.execute = run_pair;
}

// Between integers of 32 and 64 bits in registers of their width. Null: another conversion.
Execute plain_integer(const Decoding& d, const Conversion& c) {
  const int to = d.in.op[0].width, from = d.in.op[1].width;
  const bool integers = !is_float(c.to) && !is_float(c.from),
             wide = c.to == Number::u64 || c.to == Number::s64;
  if (!integers || c.saturate) return nullptr;
  const bool narrow = c.to == Number::u32 || c.to == Number::s32;
  if (narrow && to == 4 && from == 8 && bits_of(d.type) == 64) return run_unary<uint32_t, uint64_t, Truncate>;
  if (wide && to == 8 && from == 4 && c.from == Number::u32) return run_unary<uint64_t, uint32_t, Extend>;
  if (wide && to == 8 && from == 4 && c.from == Number::s32) return run_unary<int64_t, int32_t, ExtendSigned>;
  return nullptr;
}

void decode_conversion(Decoding& d) {
  const auto& parts = d.s.parts;
  d.refuse_unless(parts.size() >= 3);
  d.in.counted = Class::integer;
  const auto to = parts[parts.size() - 2];
  if (to == "bf16x2" || to == "f16x2") return decode_pair(d, to);
  Conversion c{number_type(d, to), number_type(d, d.type)};
  for (size_t i = 1; i + 2 < parts.size(); ++i) {
    const auto q = parts[i];
    if (q == "sat") {
      c.saturate = true;
      continue;
    }
    const bool integral = q.size() == 3 && q[2] == 'i';
    d.refuse_unless((q.size() == 2 || integral) && q[0] == 'r' && q.find_first_of("nzmp", 1) == 1);
    c.round = q[1];
    c.to_integer = integral;
  }
  const bool half = c.to == Number::bf16 || c.to == Number::f16;
  d.refuse_unless(c.round == 'n' || !half);
  d.refuse_unless(c.round == 'n' || c.to != Number::f64 || c.to_integer);
  d.in.op[0] = d.parser.destination_of_any_width(d.arg(0));
  d.in.op[1] = d.parser.source_of_any_width(d.arg(1), d.width);
  d.in.execute = plain_integer(d, c);
  if (d.in.execute != nullptr) return;
  d.in.extra = int32_t(d.parser.kernel().conversions.size());
  d.parser.kernel().conversions.push_back(c);
  d.in.execute = run_conversion;
}

}  // namespace

void add_conversions(Decoders& all) {
  all["cvt"] = decode_conversion;
}

}  // namespace ptx
