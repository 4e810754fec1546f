// Which thread of the block runs next. Threads give way only inside primitives, so an execution is a choice,
// at each wait, among the ready threads: the order of the launch options makes it.
//
//   forward      the next ready lane of this warp, then the next warp: threads run ahead as far as they can
//   reverse      the same from the other end
//   round robin  another warp at every primitive
//   random       any ready thread at every primitive
#include <bit>

#include "kernels/simt/machine.h"

namespace saslm::simt {
namespace {

int nth_set(unsigned bits, unsigned n) {
  while (n--) bits &= bits - 1;
  return std::countr_zero(bits);
}

Thread& random_ready(Machine& m) {
  const int w = nth_set(m.ready_warps, m.random() % unsigned(std::popcount(m.ready_warps)));
  const unsigned ready = m.warps[w].ready;
  return m.threads[w * kWarp + nth_set(ready, m.random() % unsigned(std::popcount(ready)))];
}

Thread& next_upwards(Machine& m, bool leave_warp) {
  int w = m.current->warp, after = m.current->lane;
  if (leave_warp || !m.warps[w].ready) {
    do w = w + 1 == m.warp_count() ? 0 : w + 1;
    while (!m.warps[w].ready);
    after = kWarp - 1;
  }
  const unsigned ready = m.warps[w].ready;
  const unsigned later = after == kWarp - 1 ? 0 : ready & ~((2u << after) - 1);
  return m.threads[w * kWarp + std::countr_zero(later ? later : ready)];
}

Thread& next_downwards(Machine& m) {
  int w = m.current->warp, before = m.current->lane;
  if (!m.warps[w].ready) {
    do w = w == 0 ? m.warp_count() - 1 : w - 1;
    while (!m.warps[w].ready);
    before = 0;
  }
  const unsigned ready = m.warps[w].ready, earlier = ready & ((1u << before) - 1);
  return m.threads[w * kWarp + kWarp - 1 - std::countl_zero(earlier ? earlier : ready)];
}

Thread& choose(Machine& m) {
  const bool random = m.options.order == Order::random;
  if (random && !m.bulk_copies.empty() && m.random() % 16 == 0)
    deliver_bulk_copy(m.random() % m.bulk_copies.size());
  while (!m.ready_warps) {  // bulk copies land as late as they can: when nothing else can run
    if (m.bulk_copies.empty())
      fail("deadlock: no thread of the block can go on" + describe_waiting(),
           "every thread counted by a barrier must reach it, and every phase of an mbarrier must complete",
           {});
    deliver_bulk_copy(random ? m.random() % m.bulk_copies.size() : 0);
  }
  switch (m.options.order) {
    case Order::forward:
      return next_upwards(m, false);
    case Order::round_robin:
      return next_upwards(m, true);
    case Order::reverse:
      return next_downwards(m);
    case Order::random:
      return random_ready(m);
  }
  __builtin_unreachable();
}

void run_another(bool finished) {
  Machine& m = machine();
  Thread& from = *m.current;
  Thread& to = choose(m);
  if (&to == &from) return;
  m.current = &to;
  threadIdx = to.index;
  Fiber::switch_to(from.fiber, to.fiber, finished);
}

void not_ready(Machine& m, const Thread& t) {
  if (!(m.warps[t.warp].ready &= ~(1u << t.lane))) m.ready_warps &= ~(1u << t.warp);
}

// A thread may leave only with nothing open.
void check_exit(Machine& m, Thread& t) {
  if (!t.copies.empty())
    fail("a thread exits with cp.async copies that it never waited for",
         "call cp_async_wait<0>() before the kernel ends", t.copies.front().at);
  if (!t.accumulators.empty())
    fail("a thread exits with wgmma in flight", "call wgmma_wait<0>(d) before the kernel ends", {});
  for (const Collective& c : m.warps[t.warp].open) {
    if (!(c.mask >> t.lane & 1)) continue;
    const int l = std::countr_zero(c.arrived);
    fail(std::string("a lane exits while its warp waits for it in ") + c.what + " at " + text(c.at[l]),
         "let every lane of the mask make the call; no early return before it", {});
  }
  if (m.live == 1 && !m.bulk_copies.empty())
    fail("the block ends with a bulk copy in flight", "wait for its mbarrier before the kernel ends",
         m.bulk_copies.front().at);
}

void thread_entry() {
  Fiber::arrived();
  Machine& m = machine();
  try {
    m.body(m.context);
    Thread& t = *m.current;
    check_exit(m, t);
    t.exited = true;
    not_ready(m, t);
    if (--m.live > 0) run_another(true);
  } catch (const std::exception& e) {
    m.failure = e.what();
  }
  Fiber::switch_to(m.current->fiber, m.caller, true);
}

}  // namespace

void make_ready(int thread) {
  make_ready(thread / kWarp, 1u << thread % kWarp);
}
void make_ready(int warp, unsigned lanes) {
  Machine& m = machine();
  m.warps[warp].ready |= lanes;
  m.ready_warps |= 1u << warp;
}

void wait(const char* what, CallSite at) {
  Machine& m = machine();
  Thread& t = *m.current;
  t.waits_in = what;
  t.waits_at = at;
  not_ready(m, t);
  run_another(false);
  t.waits_in = nullptr;
}

void yield() {
  run_another(false);
}
void yield_unless_forward() {
  if (machine().options.order != Order::forward) run_another(false);
}

void run_block_threads() {
  Machine& m = machine();
  m.failure.clear();
  m.live = m.thread_count;
  for (int t = 0; t < m.thread_count; ++t) {
    m.threads[t].begin();
    m.threads[t].fiber.start(thread_entry);
  }
  m.current = &m.threads[m.options.order == Order::reverse ? m.thread_count - 1 : 0];
  threadIdx = m.current->index;
  Fiber::switch_to(m.caller, m.current->fiber);
  m.current = nullptr;
}

}  // namespace saslm::simt
