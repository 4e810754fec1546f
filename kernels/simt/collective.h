// Operations of a whole warp: lanes wait until all of the mask have come; the last one does the work for all.
#pragma once
#include <bit>

#include "kernels/simt/machine.h"

namespace saslm::simt {

// The open collective of this warp that this lane now joins; fails when lanes do not agree. aligned: the PTX
// form demands that all lanes execute the same instruction.
Collective& join_collective(const char* what, unsigned mask, bool aligned, CallSite);

// work(collective, rank of lane 0); the argument of each lane stands in collective.argument.
template <class Work>
void collective(const char* what, unsigned mask, void* argument, bool aligned, CallSite at, Work work) {
  Machine& m = machine();
  const Thread& t = *m.current;
  Collective& c = join_collective(what, mask, aligned, at);
  c.argument[t.lane] = argument;
  c.at[t.lane] = at;
  c.arrived |= 1u << t.lane;
  if (c.arrived != c.mask) return wait(what, at);
  Warp& warp = m.warps[t.warp];
  const Collective complete = c;
  warp.open.erase(warp.open.begin() + (&c - warp.open.data()));
  work(complete, t.warp * kWarp);
  make_ready(t.warp, complete.mask);
  if (m.options.order == Order::random || m.options.order == Order::round_robin) yield();
}

template <class Work>
void for_lanes(unsigned lanes, Work work) {
  for (; lanes; lanes &= lanes - 1) work(std::countr_zero(lanes));
}

}  // namespace saslm::simt
