// setp, set, selp, and logic of predicates (PTX ISA, "Comparison and Selection Instructions"). Comparisons
// with a NaN are false; those whose names end in u are true.
#include "ptx/machine/instructions/decoding.h"
#include "ptx/machine/instructions/lanes.h"

namespace ptx {
namespace {

template <class T>
bool any_nan(T a, T b) {
  return a != a || b != b;
}

struct Equal {
  template <class T>
  bool operator()(T a, T b) const {
    return a == b;
  }
};

struct NotEqual {
  template <class T>
  bool operator()(T a, T b) const {
    return !any_nan(a, b) && a != b;
  }
};

struct Less {
  template <class T>
  bool operator()(T a, T b) const {
    return a < b;
  }
};

struct LessEqual {
  template <class T>
  bool operator()(T a, T b) const {
    return a <= b;
  }
};

struct Greater {
  template <class T>
  bool operator()(T a, T b) const {
    return a > b;
  }
};

struct GreaterEqual {
  template <class T>
  bool operator()(T a, T b) const {
    return a >= b;
  }
};

template <class C>
struct OrUnordered {
  template <class T>
  bool operator()(T a, T b) const {
    return any_nan(a, b) || C()(a, b);
  }
};

struct BothNumbers {
  template <class T>
  bool operator()(T a, T b) const {
    return !any_nan(a, b);
  }
};

struct AnyNan {
  template <class T>
  bool operator()(T a, T b) const {
    return any_nan(a, b);
  }
};

enum Logic : uint8_t { kNone, kAnd, kOr, kXor, kNot };

uint32_t combine(uint8_t logic, uint32_t a, uint32_t b) {
  switch (logic) {
    case kAnd:
      return a & b;
    case kOr:
      return a | b;
    case kXor:
      return a ^ b;
    case kNot:
      return ~a;
    default:
      return a;
  }
}

Logic logic_of(std::string_view name) {
  return name == "and" ? kAnd : name == "or" ? kOr : name == "xor" ? kXor : name == "not" ? kNot : kNone;
}

template <class T, class C>
uint32_t compare(Warp& w, const Operand& x, const Operand& y) {
  const auto *a = w.at<Slot<T>>(x), *b = w.at<Slot<T>>(y);
  uint32_t r = 0;
  for (int l = 0; l < kWarp; ++l) r |= uint32_t(C()(from_slot<T>(a[l]), from_slot<T>(b[l]))) << l;
  return r;
}

// setp.cmp{.logic} p|q, a, b{, c}: p = cmp logic c, q = !cmp logic c; op: p, q, a, b, c
template <class T, class C>
void run_setp(Warp& w, const Instr& in, uint32_t lanes) {
  const uint32_t r = compare<T, C>(w, in.op[2], in.op[3]);
  const uint32_t c = in.mode != kNone ? w.predicate(in.op[4]) : 0;
  w.set_predicate(in.op[0], lanes, combine(in.mode, r, c));
  w.set_predicate(in.op[1], lanes, combine(in.mode, ~r, c));
}

// set.cmp.type: all ones, or as f32 one
template <class T, class C>
void run_set(Warp& w, const Instr& in, uint32_t lanes) {
  const uint32_t r = compare<T, C>(w, in.op[2], in.op[3]);
  auto* const d = w.at<uint32_t>(in.op[0]);
  const uint32_t truth = in.mode != 0 ? 0x3f800000u : ~0u;
  for_lanes(lanes, [&](int l) { d[l] = r >> l & 1 ? truth : 0u; });
}

void run_logic(Warp& w, const Instr& in, uint32_t lanes) {
  const uint32_t b = in.op[2].width != 0 ? w.predicate(in.op[2]) : 0;
  w.set_predicate(in.op[0], lanes, combine(in.mode, w.predicate(in.op[1]), b));
}

template <class T>
void run_select(Warp& w, const Instr& in, uint32_t lanes) {
  const auto *a = w.at<T>(in.op[1]), *b = w.at<T>(in.op[2]);
  const uint32_t p = w.predicate(in.op[3]);
  set_lanes<T>(w, in.op[0], lanes, [&](int l) { return p >> l & 1 ? a[l] : b[l]; });
}

template <class T>
Execute comparison(std::string_view name, bool value) {
  struct Named {
    std::string_view name;
    Execute setp, set;
  };
#define PTX_COMPARISON(name, ...) \
  { name, run_setp<T, __VA_ARGS__>, run_set<T, __VA_ARGS__> }
  static constexpr Named all[] = {PTX_COMPARISON("eq", Equal),
                                  PTX_COMPARISON("ne", NotEqual),
                                  PTX_COMPARISON("lt", Less),
                                  PTX_COMPARISON("le", LessEqual),
                                  PTX_COMPARISON("gt", Greater),
                                  PTX_COMPARISON("ge", GreaterEqual),
                                  PTX_COMPARISON("lo", Less),
                                  PTX_COMPARISON("ls", LessEqual),
                                  PTX_COMPARISON("hi", Greater),
                                  PTX_COMPARISON("hs", GreaterEqual),
                                  PTX_COMPARISON("equ", OrUnordered<Equal>),
                                  PTX_COMPARISON("neu", OrUnordered<NotEqual>),
                                  PTX_COMPARISON("ltu", OrUnordered<Less>),
                                  PTX_COMPARISON("leu", OrUnordered<LessEqual>),
                                  PTX_COMPARISON("gtu", OrUnordered<Greater>),
                                  PTX_COMPARISON("geu", OrUnordered<GreaterEqual>),
                                  PTX_COMPARISON("num", BothNumbers),
                                  PTX_COMPARISON("nan", AnyNan)};
#undef PTX_COMPARISON
  for (const Named& n : all)
    if (n.name == name) return value ? n.set : n.setp;
  return nullptr;
}

void decode_comparison(Decoding& d) {
  const bool value = d.base == "set";
  const auto name = d.s.parts.at(1);
  if (value) {  // set.cmp.dtype.stype
    d.refuse_unless(d.s.parts.size() == 4 && (d.s.parts[2] == "f32" || bits_of(d.s.parts[2]) == 32));
    d.destination(0, 4);
    d.in.mode = d.s.parts[2] == "f32";
  } else {
    d.destination(0, 1);
    d.second_destination(d.arg(0).second, 1);
  }
  d.source(1, d.width, 2);
  d.source(2, d.width, 3);
  if (!value && d.s.args.size() > 3) {
    d.source(3, 1, 4);
    d.in.mode = logic_of(d.s.parts.at(2));
    d.refuse_unless(d.in.mode != kNone && d.in.mode != kNot);
  }
  d.refuse_unless(d.with_number([&](auto t) { d.in.execute = comparison<decltype(t)>(name, value); }));
  d.refuse_unless(d.in.execute != nullptr);
}

void decode_select(Decoding& d) {
  d.refuse_unless(bits_of(d.type) >= 16);
  d.destination(0, d.width);
  d.source(1, d.width, 1);
  d.source(2, d.width, 2);
  d.source(3, 1, 3);
  d.in.execute = d.width == 8 ? run_select<uint64_t> : run_select<uint32_t>;
}

}  // namespace

bool decode_predicate_logic(Decoding& d) {
  if (d.type != "pred") return false;
  d.in.mode = logic_of(d.base);
  d.operands(1, d.base == "not" || d.base == "mov" ? 1 : 2);
  d.in.execute = run_logic;
  return true;
}

void add_predicates(Decoders& all) {
  all["setp"] = all["set"] = decode_comparison;
  all["selp"] = decode_select;
}

}  // namespace ptx
