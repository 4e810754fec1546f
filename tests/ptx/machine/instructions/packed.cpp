// Arithmetic of bf16 and bf16x2: fma, mul, add, sub, max, min (PTX ISA, "Half Precision Floating Point
// Instructions"). One rounding, to the nearest even.
#include <cmath>

#include "ptx/machine/instructions/decoding.h"
#include "ptx/machine/instructions/half.h"
#include "ptx/machine/instructions/lanes.h"
#include "ptx/machine/instructions/operations.h"

namespace ptx {
namespace {

// Double holds a product, and nearly every sum, of bf16. Rounded to odd in float first, so that rounding to
// bf16 is the only one that counts.
uint16_t round_once(double v) {
  float f = float(v);
  if (double(f) != v && std::isfinite(f)) {
    auto bits = __builtin_bit_cast(uint32_t, f);
    if (std::fabs(double(f)) > std::fabs(v)) --bits;
    f = __builtin_bit_cast(float, bits | 1u);
  }
  return to_bf16(f);
}

enum PackedMode : uint8_t { kFma, kMultiply, kAdd, kSubtract, kMaximum, kMinimum };

double combine(uint8_t mode, float x, float y, float z) {
  switch (mode) {
    case kFma:
      return double(x) * y + z;
    case kMultiply:
      return double(x) * y;
    case kAdd:
      return double(x) + y;
    case kSubtract:
      return double(x) - y;
    case kMaximum:
      return Maximum()(x, y);
    default:
      return Minimum()(x, y);
  }
}

void run_packed(Warp& w, const Instr& in, uint32_t lanes) {
  const auto *a = w.at<uint32_t>(in.op[1]), *b = w.at<uint32_t>(in.op[2]);
  const uint32_t* const c = in.op[3].width != 0 ? w.at<uint32_t>(in.op[3]) : nullptr;
  set_lanes<uint32_t>(w, in.op[0], lanes, [&](int l) {
    uint32_t r = 0;
    for (int shift = 0; shift < 16 * in.elements; shift += 16) {
      const auto half = [&](uint32_t v) { return from_bf16(uint16_t(v >> shift)); };
      const double v = combine(in.mode, half(a[l]), half(b[l]), c != nullptr ? half(c[l]) : 0.0f);
      r |= uint32_t(round_once(v)) << shift;
    }
    return r;
  });
}

}  // namespace

bool decode_packed(Decoding& d) {
  if (d.type != "bf16" && d.type != "bf16x2") return false;
  static const std::unordered_map<std::string_view, PackedMode> modes = {
      {"fma", kFma},      {"mul", kMultiply}, {"add", kAdd},
      {"sub", kSubtract}, {"max", kMaximum},  {"min", kMinimum}};
  const PackedMode mode = modes.at(d.base);
  d.operands(4, mode == kFma ? 3 : 2);
  d.in.elements = d.type == "bf16" ? 1 : 2;
  d.in.mode = mode;
  if (mode == kFma) d.in.counted = Class::fma;
  d.in.execute = run_packed;
  return true;
}

}  // namespace ptx
