// add.cc, addc, sub.cc, subc, mad.cc, madc (PTX ISA, "Extended-Precision Integer Arithmetic Instructions").
// The carry is a bit of each lane; after a subtraction it is the borrow.
#include "ptx/machine/instructions/decoding.h"
#include "ptx/machine/instructions/lanes.h"

namespace ptx {
namespace {

enum CarryMode : uint8_t { kTakesCarry = 1, kGivesCarry = 2 };

struct AddCarry {
  template <class W>
  W operator()(W a, W b, W carry) const {
    return a + b + carry;
  }
};

struct SubtractBorrow {
  template <class W>
  W operator()(W a, W b, W borrow) const {
    return a - b - borrow;
  }
};

// Computed in W, which has twice the bits of T: the bit behind T is the carry.
template <class T, class W, class F>
void run_carry(Warp& w, const Instr& in, uint32_t lanes) {
  const auto *a = w.at<T>(in.op[1]), *b = w.at<T>(in.op[2]);
  auto* const d = w.at<T>(in.op[0]);
  for_lanes(lanes, [&](int l) {
    const W r = F()(W(a[l]), W(b[l]), W((in.mode & kTakesCarry) != 0 && w.carry[l]));
    if (in.mode & kGivesCarry) w.carry[l] = (r >> (8 * sizeof(T)) & 1) != 0;
    d[l] = T(r);
  });
}

template <bool high>
void run_mad_carry(Warp& w, const Instr& in, uint32_t lanes) {
  const auto *a = w.at<uint32_t>(in.op[1]), *b = w.at<uint32_t>(in.op[2]), *c = w.at<uint32_t>(in.op[3]);
  auto* const d = w.at<uint32_t>(in.op[0]);
  for_lanes(lanes, [&](int l) {
    const uint64_t product = uint64_t(a[l]) * b[l];
    const uint64_t half = high ? product >> 32 : product & 0xffffffffu;
    const uint64_t r = half + c[l] + uint64_t((in.mode & kTakesCarry) != 0 && w.carry[l]);
    if (in.mode & kGivesCarry) w.carry[l] = (r >> 32 & 1) != 0;
    d[l] = uint32_t(r);
  });
}

}  // namespace

bool decode_carry(Decoding& d) {
  const bool takes = d.base.back() == 'c', gives = d.s.has("cc");
  if (!takes && !gives) return false;
  d.in.mode = uint8_t((takes ? kTakesCarry : 0) | (gives ? kGivesCarry : 0));
  if (d.base.substr(0, 3) == "mad") {
    d.operands(4, 3);
    d.refuse_unless(d.type == "u32" && (d.s.has("hi") || d.s.has("lo")));
    d.in.execute = d.s.has("hi") ? run_mad_carry<true> : run_mad_carry<false>;
    return true;
  }
  d.refuse_unless(d.type == "u32" || d.type == "s32" || d.type == "u64" || d.type == "s64");
  d.operands(d.width, 2);
  using Wide = unsigned __int128;
  if (d.base.substr(0, 3) == "sub") {
    d.in.execute = d.width == 8 ? run_carry<uint64_t, Wide, SubtractBorrow>
                                : run_carry<uint32_t, uint64_t, SubtractBorrow>;
  } else {
    d.in.execute =
        d.width == 8 ? run_carry<uint64_t, Wide, AddCarry> : run_carry<uint32_t, uint64_t, AddCarry>;
  }
  return true;
}

void add_carries(Decoders& all) {
  all["addc"] = all["subc"] = all["madc"] = [](Decoding& d) { decode_carry(d); };
}

}  // namespace ptx
