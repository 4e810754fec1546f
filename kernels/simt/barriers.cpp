// Barriers of the block: block_sync (PTX: barrier.cta.sync.aligned 0) and 15 named ones with thread counts.
// Checked: counts, lanes of a warp that come from different places, threads that never come (deadlock).
//
// It cannot catch two uses of one named barrier that overlap only in time on the GPU.
#include "kernels/simt/cpu_basic.h"
#include "kernels/simt/machine.h"

namespace saslm::simt {
namespace {

void open(Barrier& b, int wanted) {
  b.open = true;
  b.wanted = wanted;
  b.arrived = b.predicates = 0;
  b.waiting.clear();
  std::fill(b.first_of_warp, b.first_of_warp + kMaxWarps, CallSite{});
  std::fill(b.clock.begin(), b.clock.end(), 0);
}

// The number of threads with a true predicate, once all have come; nothing when not waiting.
int arrive(const char* what, int id, int wanted, bool predicate, bool waits, CallSite at) {
  Machine& m = machine();
  const Thread& t = *m.current;
  Barrier& b = m.barriers[id];
  if (!b.open) open(b, wanted);
  if (b.wanted != wanted)
    fail("barrier " + std::to_string(id) + ": threads disagree on the thread count: " +
             std::to_string(wanted) + " here, " + std::to_string(b.wanted) + " before",
         "give every thread of the barrier the same count", at);
  CallSite& first = b.first_of_warp[t.warp];
  if (first.line && !same(first, at))
    fail(std::string("divergent barrier: lanes of a warp reach ") + what + " from different places, also " +
             text(first),
         "the PTX form is .aligned: bring the warp to one call", at);
  first = at;
  b.predicates += predicate;
  race::release(t.rank, b.clock);
  if (waits) b.waiting.push_back(t.rank);
  if (++b.arrived < b.wanted) {
    if (waits) wait(what, at);
    return b.result;
  }
  b.open = false;
  b.result = b.predicates;
  const int result = b.result;
  for (const int thread : b.waiting) {
    race::acquire(thread, b.clock);
    make_ready(thread);
  }
  yield_unless_forward();
  return result;
}

void check_named(int id, int threads, CallSite at) {
  if (id < 1 || id >= kBarriers)
    fail("barrier " + std::to_string(id) + " does not exist", "use 1 to 15; 0 is block_sync's", at);
  if (threads < kWarp || threads % kWarp || threads > machine().thread_count)
    fail("barrier " + std::to_string(id) + " for " + std::to_string(threads) + " threads in a block of " +
             std::to_string(machine().thread_count),
         "the count is a multiple of 32, at most the block", at);
}

}  // namespace

static int sync_all(const char* what, bool predicate, CallSite at) {
  return arrive(what, 0, machine().thread_count, predicate, true, at);
}
void block_sync(CallSite at) {
  sync_all("block_sync", false, at);
}
bool block_sync_or(bool p, CallSite at) {
  return sync_all("block_sync_or", p, at) > 0;
}
bool block_sync_and(bool p, CallSite at) {
  return sync_all("block_sync_and", p, at) == machine().thread_count;
}
int block_sync_count(bool p, CallSite at) {
  return sync_all("block_sync_count", p, at);
}

void bar_sync(int id, int threads, CallSite at) {
  check_named(id, threads, at);
  arrive("bar_sync", id, threads, false, true, at);
}
void bar_arrive(int id, int threads, CallSite at) {
  check_named(id, threads, at);
  arrive("bar_arrive", id, threads, false, false, at);
}

}  // namespace saslm::simt
