// mbarrier.init, arrive, expect_tx, try_wait, test_wait. Who waits for a phase learns what those knew who
// arrived.
#include "ptx/machine/instructions/mbarriers.h"

#include "ptx/machine/instructions/decoding.h"
#include "ptx/machine/instructions/lanes.h"
#include "ptx/machine/run/memory.h"

namespace ptx {
namespace {

constexpr uint32_t kBytes = 8;

uint32_t checked_address(Warp& w, const Instr& in, int lane, uint64_t address) {
  const uint64_t at = shared_offset(in, address);
  if (at % kBytes != 0) w.fault(in, lane, "misaligned mbarrier " + hex(at));
  if (at < kSharedBase || at > w.block->shared_end - kBytes)
    w.fault(in, lane, "mbarrier outside of shared memory " + hex(at));
  return uint32_t(at);
}

void run_init(Warp& w, const Instr& in, uint32_t lanes) {
  const Addresses a = addresses(w, in);
  for_lanes(lanes, [&](int l) {
    Mbarrier b;
    b.expected = b.pending = int(w.at<uint32_t>(in.op[1])[l]);
    w.block->mbarriers[checked_address(w, in, l, a.of[l])] = b;
  });
}

enum ArriveMode : uint8_t { kOne, kExpectsBytes, kCount };  // what op[1] is

void run_arrive(Warp& w, const Instr& in, uint32_t lanes) {
  const Addresses a = addresses(w, in);
  for_lanes(lanes, [&](int l) {
    Mbarrier& b = mbarrier_at(w, in, l, a.of[l]);
    const auto n = in.mode != kOne ? w.at<uint32_t>(in.op[1])[l] : 0;
    if (in.mode == kExpectsBytes) b.bytes += n;
    const int count = in.mode == kCount ? int(n) : 1;
    join(b.clock, w.clock);
    if (b.pending < count) w.find(in, "MBARRIER: more arrivals than expected");
    b.pending -= count;
    end_phase_if_complete(b);
  });
  w.tick();
}

void run_expect(Warp& w, const Instr& in, uint32_t lanes) {
  const Addresses a = addresses(w, in);
  for_lanes(lanes, [&](int l) { mbarrier_at(w, in, l, a.of[l]).bytes += w.at<uint32_t>(in.op[1])[l]; });
}

// try_wait.parity p, [a], parity: whether the phase of that parity is over, which it is while one of the
// other runs
void run_try_wait(Warp& w, const Instr& in, uint32_t lanes) {
  const Addresses a = addresses(w, in);
  uint32_t over = 0;
  for_lanes(lanes, [&](int l) {
    const Mbarrier& b = mbarrier_at(w, in, l, a.of[l]);
    if ((b.phase & 1) == (w.at<uint32_t>(in.op[1])[l] & 1)) return;
    over |= 1u << l;
    w.learn(b.clock);
  });
  w.set_predicate(in.op[0], lanes, over);
}

void decode_mbarrier(Decoding& d) {
  const auto what = d.s.parts.at(1);
  d.in.space = Space::shared;
  d.in.counted = Class::other;
  if (what == "init" || what == "expect_tx") {
    d.parser.address(d.arg(0), d.in);
    d.source(1, 4, 1);
    d.in.execute = what == "init" ? run_init : run_expect;
  } else if (what == "arrive") {  // without a state
    d.refuse_unless(d.arg(0).type == Argument::underscore);
    d.parser.address(d.arg(1), d.in);
    const bool counted = d.s.args.size() > 2;
    if (counted) d.source(2, 4, 1);
    d.refuse_unless(counted || !d.s.has("expect_tx"));
    d.in.mode = d.s.has("expect_tx") ? kExpectsBytes : counted ? kCount : kOne;
    d.in.execute = run_arrive;
  } else {
    d.refuse_unless((what == "try_wait" || what == "test_wait") && d.s.has("parity"));
    d.destination(0, 1);
    d.parser.address(d.arg(1), d.in);
    d.source(2, 4, 1);
    d.in.execute = run_try_wait;
    d.in.kind = Kind::poll;
  }
}

}  // namespace

Mbarrier& mbarrier_at(Warp& w, const Instr& in, int lane, uint64_t address) {
  const uint32_t at = checked_address(w, in, lane, address);
  const auto it = w.block->mbarriers.find(at);
  if (it == w.block->mbarriers.end()) w.fault(in, lane, "no mbarrier at " + hex(at));
  return it->second;
}

void end_phase_if_complete(Mbarrier& b) {
  if (b.pending != 0 || b.bytes != 0) return;
  ++b.phase;
  b.pending = b.expected;
}

void add_mbarriers(Decoders& all) {
  all["mbarrier"] = decode_mbarrier;
}

}  // namespace ptx
