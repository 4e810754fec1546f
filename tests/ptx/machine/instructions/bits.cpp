// and, or, xor, not, shl, shr, shf, prmt, lop3, bfe, bfi, popc, clz, brev (PTX ISA, "Logic and Shift
// Instructions", "Integer Arithmetic Instructions").
#include <algorithm>

#include "ptx/machine/instructions/decoding.h"
#include "ptx/machine/instructions/lanes.h"
#include "ptx/machine/instructions/operations.h"

namespace ptx {
namespace {

struct And {
  template <class T>
  T operator()(T a, T b) const {
    return T(a & b);
  }
};

struct Or {
  template <class T>
  T operator()(T a, T b) const {
    return T(a | b);
  }
};

struct Xor {
  template <class T>
  T operator()(T a, T b) const {
    return T(a ^ b);
  }
};

struct Not {
  template <class T>
  T operator()(T a) const {
    return T(~a);
  }
};

struct ShiftLeft {  // by 32 and more: 0
  template <class T>
  T operator()(T a, uint32_t n) const {
    return n >= 8 * sizeof(T) ? T(0) : T(Unsigned<T>(a) << n);
  }
};

struct ShiftRight {  // by 32 and more: the sign
  template <class T>
  T operator()(T a, uint32_t n) const {
    if (n >= 8 * sizeof(T)) return std::is_signed_v<T> && a < 0 ? T(-1) : T(0);
    return T(a >> n);
  }
};

struct CountOnes {
  template <class T>
  uint32_t operator()(T a) const {
    return uint32_t(__builtin_popcountll(a));
  }
};

struct CountLeadingZeros {
  template <class T>
  uint32_t operator()(T a) const {
    return uint32_t(std::countl_zero(a));
  }
};

struct Reverse {
  uint32_t operator()(uint32_t a) const {
    uint32_t r = 0;
    for (int b = 0; b < 32; ++b) r |= (a >> b & 1u) << (31 - b);
    return r;
  }
};

// bfe d, a, position, length: beyond the field, and beyond a, bits are the field's sign (signed types) or 0.
template <class T>
void run_extract(Warp& w, const Instr& in, uint32_t lanes) {
  const auto* const a = w.at<Slot<T>>(in.op[1]);
  const auto *position = w.at<uint32_t>(in.op[2]), *length = w.at<uint32_t>(in.op[3]);
  constexpr int bits = 8 * sizeof(T);
  set_lanes<T>(w, in.op[0], lanes, [&](int l) {
    const int p = int(position[l] & 255), n = int(length[l] & 255);
    const auto v = Unsigned<T>(from_slot<T>(a[l]));
    const bool sign = std::is_signed_v<T> && n != 0 && (v >> std::min(p + n - 1, bits - 1) & 1) != 0;
    Unsigned<T> r = 0;
    for (int b = 0; b < bits; ++b) {
      const bool bit = b < n && p + b < bits ? (v >> (p + b) & 1) != 0 : sign;
      r |= Unsigned<T>(bit) << b;
    }
    return T(r);
  });
}

// bfi d, a, b, position, length: b with a's low bits in the field
template <class T>
void run_insert(Warp& w, const Instr& in, uint32_t lanes) {
  const auto *a = w.at<T>(in.op[1]), *b = w.at<T>(in.op[2]);
  const auto *position = w.at<uint32_t>(in.op[3]), *length = w.at<uint32_t>(in.op[4]);
  set_lanes<T>(w, in.op[0], lanes, [&](int l) {
    constexpr uint32_t bits = 8 * sizeof(T);
    const uint32_t p = position[l] & 255, n = length[l] & 255;
    if (p >= bits || n == 0) return b[l];
    const T low = n >= bits ? T(~T(0)) : T((T(1) << n) - 1);
    return T((b[l] & ~(low << p)) | ((a[l] & low) << p));
  });
}

// prmt d, a, b, selector: each nibble takes a byte of {b, a}, or with its high bit that byte's sign in eight
// bits
void run_permute(Warp& w, const Instr& in, uint32_t lanes) {
  const auto *a = w.at<uint32_t>(in.op[1]), *b = w.at<uint32_t>(in.op[2]),
             *selector = w.at<uint32_t>(in.op[3]);
  set_lanes<uint32_t>(w, in.op[0], lanes, [&](int l) {
    const uint64_t v = uint64_t(b[l]) << 32 | a[l];
    uint32_t r = 0;
    for (int k = 0; k < 4; ++k) {
      const uint32_t s = selector[l] >> (4 * k) & 15;
      uint32_t byte = uint32_t(v >> (8 * (s & 7))) & 255;
      if (s & 8) byte = byte & 128 ? 255 : 0;
      r |= byte << (8 * k);
    }
    return r;
  });
}

// lop3 d, a, b, c, table: bit (a, b, c) of the table
void run_lop3(Warp& w, const Instr& in, uint32_t lanes) {
  const auto *a = w.at<uint32_t>(in.op[1]), *b = w.at<uint32_t>(in.op[2]), *c = w.at<uint32_t>(in.op[3]);
  const auto table = uint32_t(in.imm);
  set_lanes<uint32_t>(w, in.op[0], lanes, [&](int l) {
    uint32_t r = 0;
    for (int k = 0; k < 8; ++k)
      if (table >> k & 1) r |= (k & 4 ? a[l] : ~a[l]) & (k & 2 ? b[l] : ~b[l]) & (k & 1 ? c[l] : ~c[l]);
    return r;
  });
}

enum FunnelMode : uint8_t { kLeft = 1, kClamp = 2 };

void run_funnel_shift(Warp& w, const Instr& in, uint32_t lanes) {
  const auto *a = w.at<uint32_t>(in.op[1]), *b = w.at<uint32_t>(in.op[2]), *c = w.at<uint32_t>(in.op[3]);
  set_lanes<uint32_t>(w, in.op[0], lanes, [&](int l) {
    const uint64_t v = uint64_t(b[l]) << 32 | a[l];
    const uint32_t n = in.mode & kClamp ? std::min(c[l], 32u) : c[l] & 31;
    return uint32_t(in.mode & kLeft ? (v << n) >> 32 : v >> n);
  });
}

void decode_logic(Decoding& d) {
  if (decode_predicate_logic(d)) return;
  d.refuse_unless(d.with_integer([&](auto t) {
    using T = decltype(t);
    d.operands(d.width, d.base == "not" ? 1 : 2);
    d.in.execute = d.base == "and"   ? run_binary<T, And>
                   : d.base == "or"  ? run_binary<T, Or>
                   : d.base == "xor" ? run_binary<T, Xor>
                                     : run_unary<T, T, Not>;
  }));
}

void decode_shift(Decoding& d) {
  d.refuse_unless(d.with_integer([&](auto t) {
    using T = decltype(t);
    d.destination(0, d.width);
    d.source(1, d.width, 1);
    d.source(2, 4, 2);
    d.in.execute =
        d.base == "shl" ? run_mixed<T, T, uint32_t, ShiftLeft> : run_mixed<T, T, uint32_t, ShiftRight>;
  }));
}

void decode_funnel_shift(Decoding& d) {
  const bool left = d.s.has("l"), clamp = d.s.has("clamp");
  d.refuse_unless((left || d.s.has("r")) && (clamp || d.s.has("wrap")));
  d.operands(4, 3);
  d.in.mode = uint8_t((left ? kLeft : 0) | (clamp ? kClamp : 0));
  d.in.execute = run_funnel_shift;
}

void decode_permute(Decoding& d) {
  d.refuse_unless(d.s.parts.size() == 2);  // no mode
  d.operands(4, 3);
  d.in.execute = run_permute;
}

void decode_lop3(Decoding& d) {
  d.refuse_unless(d.s.parts.size() == 2 && d.s.args.size() == 5);
  d.destination(0, 4);
  for (int i = 1; i < 4; ++i) d.source(size_t(i), 4, i);
  d.in.imm = int64_t(d.parser.number(d.arg(4)));
  d.in.execute = run_lop3;
}

void decode_field(Decoding& d) {
  const bool insert = d.base == "bfi";
  d.refuse_unless(d.with_integer([&](auto t) {
    using T = decltype(t);
    d.refuse_unless(sizeof(T) >= 4);
    d.destination(0, d.width);
    d.source(1, d.width, 1);
    d.source(2, insert ? d.width : 4, 2);
    d.source(3, 4, 3);
    if (insert) d.source(4, 4, 4);
    d.in.execute = insert ? run_insert<Slot<T>> : run_extract<T>;
  }));
}

void decode_count(Decoding& d) {
  d.destination(0, 4);
  d.source(1, d.width, 1);
  const bool wide = d.width == 8;
  if (d.base == "popc") {
    d.in.execute = wide ? run_unary<uint32_t, uint64_t, CountOnes> : run_unary<uint32_t, uint32_t, CountOnes>;
  } else if (d.base == "clz") {
    d.in.execute = wide ? run_unary<uint32_t, uint64_t, CountLeadingZeros>
                        : run_unary<uint32_t, uint32_t, CountLeadingZeros>;
  } else {
    d.refuse_unless(!wide);
    d.in.execute = run_unary<uint32_t, uint32_t, Reverse>;
  }
}

}  // namespace

void add_bits(Decoders& all) {
  all["and"] = all["or"] = all["xor"] = all["not"] = decode_logic;
  all["shl"] = all["shr"] = decode_shift;
  all["shf"] = decode_funnel_shift;
  all["prmt"] = decode_permute;
  all["lop3"] = decode_lop3;
  all["bfe"] = all["bfi"] = decode_field;
  all["popc"] = all["clz"] = all["brev"] = decode_count;
}

}  // namespace ptx
