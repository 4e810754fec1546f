// atom, red (PTX ISA, "Parallel Synchronization and Communication Instructions"): lane after lane, at once.
// They are no part of the race check.
#include "ptx/machine/instructions/decoding.h"
#include "ptx/machine/instructions/lanes.h"
#include "ptx/machine/instructions/operations.h"
#include "ptx/machine/run/memory.h"

namespace ptx {
namespace {

enum AtomicMode : uint8_t {
  kAdd,
  kMin,
  kMax,
  kExchange,
  kCompareAndSwap,
  kAnd,
  kOr,
  kXor,
  kIncrement,
  kDecrement
};
constexpr std::string_view kAtomicNames[] = {"add", "min", "max", "exch", "cas",
                                             "and", "or",  "xor", "inc",  "dec"};

template <class T>
T combine_bits(uint8_t mode, T old, T b) {
  switch (mode) {
    case kAnd:
      return T(old & b);
    case kOr:
      return T(old | b);
    case kXor:
      return T(old ^ b);
    case kIncrement:
      return old >= b ? T(0) : T(old + 1);
    default:
      return old == 0 || old > b ? b : T(old - 1);
  }
}

template <class T>
T combine(uint8_t mode, T old, T b, T replacement) {
  switch (mode) {
    case kAdd:
      return Add()(old, b);
    case kMin:
      return Minimum()(old, b);
    case kMax:
      return Maximum()(old, b);
    case kExchange:
      return b;
    case kCompareAndSwap:
      return old == b ? replacement : old;
    default:
      break;
  }
  if constexpr (std::is_integral_v<T>) return combine_bits(mode, old, b);
  return old;  // not decoded for floats
}

// atom d, [a], b{, c}: op: d (or none: red), b, c
template <class T>
void run_atomic(Warp& w, const Instr& in, uint32_t lanes) {
  const Addresses a = addresses(w, in);
  const auto* const b = w.at<Slot<T>>(in.op[1]);
  const auto* const c = w.at<Slot<T>>(in.op[in.mode == kCompareAndSwap ? 2 : 1]);
  for_lanes(lanes, [&](int l) {
    uint8_t* const at = memory(w, in, l, a.of[l], sizeof(T), Access::atomic);
    T old;
    std::memcpy(&old, at, sizeof(T));
    const T fresh = combine(in.mode, old, from_slot<T>(b[l]), from_slot<T>(c[l]));
    std::memcpy(at, &fresh, sizeof(T));
    if (in.op[0].width != 0) w.at<Slot<T>>(in.op[0])[l] = to_slot<T>(old);
  });
}

void decode_atomic(Decoding& d) {
  const size_t first = d.base == "red" ? 0 : 1;
  int mode = -1;
  for (size_t i = 0; i < std::size(kAtomicNames); ++i)
    if (d.s.has(kAtomicNames[i])) mode = int(i);
  d.refuse_unless(mode >= 0 && !d.s.has("async") && !d.s.has("v2") && !d.s.has("v4"));
  d.state_space();
  d.in.counted = Class::atomic;
  d.in.mode = uint8_t(mode);
  if (first != 0) d.destination(0, d.width);
  d.parser.address(d.arg(first), d.in);
  d.source(first + 1, d.width, 1);
  if (mode == kCompareAndSwap) d.source(first + 2, d.width, 2);
  d.refuse_unless(d.with_number([&](auto t) {
    using T = decltype(t);
    const bool known = std::is_integral_v<T> || mode <= kExchange;
    if constexpr (sizeof(T) >= 4)
      if (known) d.in.execute = run_atomic<T>;
  }));
  d.refuse_unless(d.in.execute != nullptr);
}

}  // namespace

void add_atomics(Decoders& all) {
  all["atom"] = all["red"] = decode_atomic;
}

}  // namespace ptx
