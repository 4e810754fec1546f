// bar, barrier, trap, and what means nothing here: fences (memory is the host's, in program order),
// prefetches, hints. Branches, calls and exits: program/statements.cpp.
#include "ptx/machine/instructions/control.h"

#include "ptx/machine/instructions/decoding.h"

namespace ptx {
namespace {

void run_nothing(Warp&, const Instr&, uint32_t) {}

// bar.sync id{, threads}; bar.arrive id, threads; bar.red.popc d, id{, threads}, p; bar.red.{and,or}.pred p,
// ...
void decode_barrier(Decoding& d) {
  if (d.s.has("warp")) return decode_warp_sync(d);
  d.in.kind = Kind::barrier;
  d.in.counted = Class::bar;
  const bool reduces = d.s.has("red");
  d.refuse_unless(reduces || d.s.has("sync") || d.s.has("arrive"));
  size_t a = 0;
  if (reduces) {
    d.refuse_unless(d.s.has("popc") || d.s.has("and") || d.s.has("or"));
    d.in.mode = d.s.has("popc") ? kBarCount : d.s.has("and") ? kBarAnd : kBarOr;
    d.destination(a++, d.in.mode == kBarCount ? 4 : 1, kBarResult);
  } else {
    d.in.mode = d.s.has("arrive") ? kBarArrive : kBarSync;
  }
  d.source(a++, 4, kBarId);
  const size_t behind = reduces ? 1 : 0;  // the predicate
  if (d.s.args.size() > a + behind) d.source(a++, 4, kBarThreads);
  if (reduces) d.source(a, 1, kBarSource);
}

void decode_trap(Decoding& d) {
  d.in.kind = Kind::trap;
}

void decode_nothing(Decoding& d) {
  d.in.counted = Class::other;
  if (d.base == "setmaxnreg") d.in.kind = Kind::sync;  // of all lanes
  d.in.execute = run_nothing;
}

}  // namespace

void add_control(Decoders& all) {
  all["bar"] = all["barrier"] = decode_barrier;
  all["trap"] = decode_trap;
  for (const auto name : {"fence", "membar", "setmaxnreg", "griddepcontrol", "prefetch", "prefetchu",
                          "nanosleep", "createpolicy", "discard"})
    all[name] = decode_nothing;
}

}  // namespace ptx
