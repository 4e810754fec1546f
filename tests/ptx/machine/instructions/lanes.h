// One operation in all lanes: values of C++ types out of slots, and templates of what most instructions do.
//
// run_unary<D, A, F> and the like are Instr::execute: op[0] is the destination, op[1].. the sources, F the
// operation.
#pragma once
#include <bit>
#include <cstring>
#include <type_traits>

#include "ptx/machine/run/machine.h"

namespace ptx {

template <class T>
using Slot = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;

template <class T>
inline T from_slot(Slot<T> s) {
  if constexpr (sizeof(T) == sizeof(s)) {
    return std::bit_cast<T>(s);
  } else {
    return static_cast<T>(s);
  }
}

template <class T>
inline Slot<T> to_slot(T v) {
  if constexpr (sizeof(T) == sizeof(Slot<T>)) {
    return std::bit_cast<Slot<T>>(v);
  } else {
    return static_cast<std::make_unsigned_t<T>>(v);
  }
}

template <class F>
inline void for_lanes(uint32_t lanes, F f) {
  for (; lanes != 0; lanes &= lanes - 1) f(__builtin_ctz(lanes));
}

// d[lane] = f(lane). All 32 lanes are a loop that compilers vectorise.
template <class D, class F>
inline void set_lanes(Warp& w, const Operand& destination, uint32_t lanes, F f) {
  auto* const d = w.at<Slot<D>>(destination);
  if (lanes == kAllLanes) {
    Slot<D> r[kWarp];
    for (int l = 0; l < kWarp; ++l) r[l] = to_slot<D>(f(l));
    std::memcpy(d, r, sizeof r);
  } else {
    for_lanes(lanes, [&](int l) { d[l] = to_slot<D>(f(l)); });
  }
}

template <class D, class A, class F>
void run_unary(Warp& w, const Instr& in, uint32_t lanes) {
  const auto* const a = w.at<Slot<A>>(in.op[1]);
  set_lanes<D>(w, in.op[0], lanes, [&](int l) { return F()(from_slot<A>(a[l])); });
}

template <class D, class A, class B, class F>
void run_mixed(Warp& w, const Instr& in, uint32_t lanes) {
  const auto* const a = w.at<Slot<A>>(in.op[1]);
  const auto* const b = w.at<Slot<B>>(in.op[2]);
  set_lanes<D>(w, in.op[0], lanes, [&](int l) { return F()(from_slot<A>(a[l]), from_slot<B>(b[l])); });
}

template <class T, class F>
void run_binary(Warp& w, const Instr& in, uint32_t lanes) {
  run_mixed<T, T, T, F>(w, in, lanes);
}

template <class D, class A, class C, class F>
void run_ternary(Warp& w, const Instr& in, uint32_t lanes) {
  const auto* const a = w.at<Slot<A>>(in.op[1]);
  const auto* const b = w.at<Slot<A>>(in.op[2]);
  const auto* const c = w.at<Slot<C>>(in.op[3]);
  set_lanes<D>(w, in.op[0], lanes,
               [&](int l) { return F()(from_slot<A>(a[l]), from_slot<A>(b[l]), from_slot<C>(c[l])); });
}

}  // namespace ptx
