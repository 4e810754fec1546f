// Shuffles, votes and warp_sync (PTX ISA: shfl.sync, vote.sync, bar.warp.sync). Checked: mask, exited lanes,
// lanes that make different calls, shuffles from lanes outside the mask. Only warp_sync orders memory.
//
// It cannot catch what the GPU leaves undefined but a real warp happens to do right.
#include "kernels/simt/collective.h"
#include "kernels/simt/cpu_basic.h"

namespace saslm::simt {

Collective& join_collective(const char* what, unsigned mask, bool aligned, CallSite at) {
  Machine& m = machine();
  const Thread& t = *m.current;
  Warp& warp = m.warps[t.warp];
  const unsigned own = 1u << t.lane;
  if (!(mask & own))
    fail(std::string(what) + ": the calling lane is not in the mask it gives",
         "name every calling lane in the mask", at);
  mask &= warp.members;
  for (Collective& c : warp.open) {
    if (!(c.mask & mask)) continue;
    const int other = std::countr_zero(c.arrived);
    if (std::string_view(c.what) != what)
      fail(std::string("lane ") + std::to_string(t.lane) + " calls " + what + " while lane " +
               std::to_string(other) + " waits in " + c.what + " at " + text(c.at[other]),
           "a warp must not diverge around its collectives", at);
    if (c.mask != mask || (c.arrived & own))
      fail(std::string(what) + ": lanes give different masks, also at " + text(c.at[other]),
           "all lanes of a mask must give the same mask", at);
    if (aligned && !same(c.at[other], at))
      fail(std::string(what) + ": lanes reach it from different places, also " + text(c.at[other]),
           "its PTX form is .aligned: every lane must execute the same call", at);
    return c;
  }
  for_lanes(mask, [&](int l) {
    if (m.threads[t.warp * kWarp + l].exited)
      fail(std::string(what) + ": the mask names lane " + std::to_string(l) + ", which has exited",
           "no early return before it", at);
  });
  return warp.open.emplace_back(Collective{what, mask, 0, {}, {}});
}

namespace {
struct Exchange {
  uint64_t in;
  int from;
  uint64_t out;
};
Exchange& of(const Collective& c, int lane) {
  return *static_cast<Exchange*>(c.argument[lane]);
}
}  // namespace

uint64_t shuffle_bits(const char* what, unsigned mask, uint64_t bits, int from_lane, CallSite at) {
  Exchange mine{bits, from_lane, 0};
  collective(what, mask, &mine, false, at, [what](const Collective& c, int) {
    for_lanes(c.mask, [&](int l) {
      const int from = of(c, l).from;
      if (!(c.mask >> from & 1))
        fail(std::string(what) + ": lane " + std::to_string(l) + " reads lane " + std::to_string(from) +
                 ", which is not in the mask",
             "name it in the mask and let it make the call", c.at[l]);
      of(c, l).out = of(c, from).in;
    });
  });
  return mine.out;
}

static unsigned vote(const char* what, unsigned mask, bool p, CallSite at) {
  Exchange mine{p, 0, 0};
  collective(what, mask, &mine, false, at, [](const Collective& c, int) {
    uint64_t votes = 0;
    for_lanes(c.mask, [&](int l) { votes |= of(c, l).in << l; });
    for_lanes(c.mask, [&](int l) { of(c, l).out = votes; });
  });
  return static_cast<unsigned>(mine.out);
}
unsigned ballot(bool p, unsigned mask, CallSite at) {
  return vote("ballot", mask, p, at);
}
bool vote_any(bool p, unsigned mask, CallSite at) {
  return vote("vote_any", mask, p, at) != 0;
}
bool vote_all(bool p, unsigned mask, CallSite at) {
  return vote("vote_all", mask, !p, at) == 0;
}

void warp_sync(unsigned mask, CallSite at) {
  collective("warp_sync", mask, nullptr, false, at, [](const Collective& c, int first) {
    int threads[kWarp], count = 0;
    for_lanes(c.mask, [&](int l) { threads[count++] = first + l; });
    race::join(threads, count);
  });
}

void note_atomic(void* p, size_t bytes, CallSite at) {
  if (machine().current) race::atomic(p, bytes, at);
}

}  // namespace saslm::simt
