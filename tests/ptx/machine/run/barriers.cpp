// bar and barrier of a block (PTX ISA, "bar", "barrier"): warps arrive as a whole.
#include "ptx/machine/instructions/control.h"
#include "ptx/machine/run/machine.h"

namespace ptx {
namespace {

// The operand's value, which all live lanes must share.
uint32_t uniform(Warp& w, const Instr& in, const Operand& o) {
  const auto* const v = w.at<uint32_t>(o);
  const uint32_t first = v[__builtin_ctz(w.live)];
  for (int l = 0; l < kWarp; ++l)
    if ((w.live >> l & 1) && v[l] != first)
      throw Fault("barrier operands differ between lanes at " + place(*w.k, in));
  return first;
}

// How many warps the barrier waits for: as many as its operand says, else all that have not exited.
int expected_warps(Warp& w, const Instr& in) {
  const auto warps = int(w.block->warps.size());
  if (in.op[kBarThreads].width != 0) {
    const uint32_t threads = uniform(w, in, in.op[kBarThreads]);
    if (threads % kWarp != 0 || threads == 0 || threads > 1024)
      throw Fault("barrier of " + std::to_string(threads) + " threads at " + place(*w.k, in));
    if (int(threads / kWarp) > warps)
      throw Fault("barrier of more threads than the block has at " + place(*w.k, in));
    return int(threads / kWarp);
  }
  int expected = warps;
  for (const Warp& v : w.block->warps)
    if (v.state == Warp::State::done) {
      w.find(in, "BARRIER of the block while threads have exited", "warp " + std::to_string(v.index));
      --expected;
    }
  return expected;
}

bool reduces(const Instr& in) {
  return in.mode >= kBarCount;
}

void reduce(Warp& w, const Instr& in, Barrier& bar) {
  const uint32_t p = w.predicate(in.op[kBarSource]) & w.live;
  bar.count += uint32_t(__builtin_popcount(p));
  bar.all &= p == w.live;
  bar.any |= p != 0;
}

void give_result(Warp& w, const Instr& in, const Barrier& bar) {
  const Operand& d = in.op[kBarResult];
  if (in.mode != kBarCount) {
    w.set_predicate(d, w.live, (in.mode == kBarAnd ? bar.all : bar.any) ? kAllLanes : 0);
    return;
  }
  for (int l = 0; l < kWarp; ++l)
    if (w.live >> l & 1) w.at<uint32_t>(d)[l] = bar.count;
}

}  // namespace

void release(Barrier& bar) {
  for (Warp* w : bar.waiting) {
    w->learn(bar.clock);
    if (reduces(*w->barrier_instr)) give_result(*w, *w->barrier_instr, bar);
    w->state = Warp::State::ready;
  }
  bar = Barrier();
}

bool arrive(Warp& w, const Instr& in) {
  const uint32_t id = uniform(w, in, in.op[kBarId]);
  if (id > 15) throw Fault("barrier " + std::to_string(id) + " at " + place(*w.k, in));
  const int expected = expected_warps(w, in);
  if (w.exited != 0) w.find(in, "BARRIER while threads of the warp have exited");
  Barrier& bar = w.block->barriers[id];
  if (bar.arrived != 0 && bar.expected != expected)
    w.find(in, "BARRIER with other numbers of threads",
           std::to_string(bar.expected) + " and " + std::to_string(expected) + " warps");
  bar.expected = expected;
  ++bar.arrived;
  join(bar.clock, w.clock);
  w.tick();
  if (reduces(in)) reduce(w, in, bar);
  const bool waits = in.mode != kBarArrive;
  if (waits) {
    w.state = Warp::State::at_barrier;
    w.barrier = int(id);
    w.barrier_instr = &in;
    bar.waiting.push_back(&w);
  }
  if (bar.arrived < bar.expected) return waits;
  release(bar);
  return false;
}

}  // namespace ptx
