// The race build: kernels are compiled by clang++ with -fsanitize=thread but linked without its runtime, so
// that every load and store of theirs calls race_hooks.cpp. A vector clock per thread (Lamport 1978;
// FastTrack, Flanagan & Freund 2009) says what a thread knows to have happened; barriers, warp_sync,
// mbarriers and wgmma_wait pass clocks on. An access that conflicts with one it does not know of is a race,
// whatever the schedule did.
//
// Shared memory: also out of bounds, never written, the destination of a copy in flight, stores that the copy
// engine or wgmma reads without fence_async. Global memory: no block knows of another.
//
// It cannot catch races of single bytes, earlier readers of global memory than the last of each block, and
// order made by atomics (it sees none, and says so by a race).
#include "kernels/simt/race.h"

#include "kernels/simt/machine.h"
#include "kernels/simt/shadow.h"

namespace saslm::simt::race {
namespace {

constexpr uintptr_t kCellBytes = 2;

struct Reader {
  uint16_t thread;
  uint32_t clock;
  Site site;
};

struct Detector {
  uint32_t block = 0, first_block = 1;  // serial numbers: of this block, of the first in this grid
  int threads = 0;
  std::vector<uint32_t> clocks;  // (threads, threads + 1); the copy engine is last
  std::vector<uint32_t> fences;  // a thread's own clock at its last fence_async
  uint32_t engine_clock = 0;
  std::vector<Cell> shared;
  std::vector<std::vector<Reader>> readers;
  std::vector<int> idle_readers;  // lists of cells that were written since
  GlobalShadow global;

  int new_readers() {
    if (idle_readers.empty()) {
      readers.emplace_back();
      return int(readers.size()) - 1;
    }
    const int list = idle_readers.back();
    idle_readers.pop_back();
    return list;
  }
  size_t width() const { return size_t(threads) + 1; }
  uint32_t* clock(int thread) { return &clocks[size_t(thread) * width()]; }
  bool known(const Access& a) { return a.block == block && a.clock <= clock(self().rank)[a.thread]; }
  bool ever(const Access& a) const { return a.block >= first_block; }
};

Detector& detector() {
  static Detector the_detector;
  return the_detector;
}

struct What {  // one access that is judged
  bool is_write, is_atomic, by_engine;
  size_t bytes;
  Site site;
  bool in_shared;
  uintptr_t place;  // offset in the arena, or address
  const char* verb() const {
    return is_atomic ? "atomic" : is_write ? "write" : by_engine ? "asynchronous read" : "read";
  }
};

std::string place_text(const What& w) {
  if (w.in_shared) return std::to_string(w.place) + " of shared memory";
  char text[32];
  std::snprintf(text, sizeof text, "%#zx of global memory", size_t(w.place));
  return text;
}

[[noreturn]] void report(const What& w, const std::string& kind, const std::string& advice) {
  fail_from_hook(kind + ": " + w.verb() + " of " + std::to_string(w.bytes) + " bytes at " + place_text(w) +
                     "\n  at " + w.site.text(),
                 advice);
}
[[noreturn]] void report_race(const What& w, const char* earlier, const Access& other) {
  const Detector& d = detector();
  const std::string who = other.block != d.block
                              ? "another block (its thread " + std::to_string(other.thread) + ")"
                          : other.thread == uint16_t(d.threads) ? "the copy engine"
                                                                : describe(machine().threads[other.thread]);
  report(w, std::string("race with a ") + earlier + " by " + who + " at " + other.site.text(),
         other.block != d.block
             ? "nothing orders two blocks of a grid: let one write, or use a second kernel"
             : "nothing orders the two: a block_sync, warp_sync, named barrier or wait is missing");
}

void judge_state(const What& w, const Cell& c) {
  if (c.state == State::unallocated)
    report(w, "out of bounds", "check the index, the array and the size given to launch()");
  if (c.in_flight)
    report(w, "the destination of a copy in flight, issued at " + c.write.site.text(),
           "wait for the copy (cp_async_wait or mbar_wait), then a barrier if another thread issued it");
  if (!w.is_write && c.state == State::uninitialised)
    report(w, "never written in this block", "write it first; shared memory starts undefined");
}

void judge_write(const What& w, Cell& c) {
  Detector& d = detector();
  if (c.readers >= 0) {
    for (const Reader& r : d.readers[size_t(c.readers)]) {
      const Access a{d.block, r.clock, r.thread, r.site};
      if (!d.known(a)) report_race(w, "read", a);
    }
  } else if (d.ever(c.read) && !d.known(c.read)) {
    report_race(w, "read", c.read);
  } else if (c.earlier_block_read >= d.first_block) {
    report_race(w, "read", {c.earlier_block_read, 0, c.read.thread, c.read.site});
  }
}

void note_read(const What& w, Cell& c, const Access& now) {
  Detector& d = detector();
  if (c.readers >= 0) {
    for (Reader& r : d.readers[size_t(c.readers)])
      if (r.thread == now.thread) {
        r.clock = now.clock;
        r.site = now.site;
        return;
      }
    d.readers[size_t(c.readers)].push_back({now.thread, now.clock, now.site});
    return;
  }
  if (d.ever(c.read) && c.read.block != d.block) c.earlier_block_read = c.read.block;
  if (w.in_shared && d.ever(c.read) && c.read.thread != now.thread && !d.known(c.read)) {
    c.readers = d.new_readers();
    d.readers[size_t(c.readers)] = {{c.read.thread, c.read.clock, c.read.site},
                                    {now.thread, now.clock, now.site}};
    return;
  }
  c.read = now;
}

void judge(const What& w, Cell& c) {
  Detector& d = detector();
  const int thread = self().rank;
  if (w.in_shared) judge_state(w, c);
  if (w.bytes == 1) {
    if (w.is_write) c.state = State::initialised;
    return;
  }
  if (d.ever(c.write) && !d.known(c.write) && !(w.is_atomic && c.atomic))
    report_race(w, c.atomic ? "atomic" : "write", c.write);
  if (w.by_engine && c.ordinary && d.fences[c.write.thread] <= c.write.clock)
    report(w,
           "no fence_async after the ordinary store by " + describe(machine().threads[c.write.thread]) +
               " at " + c.write.site.text(),
           "fence_async() by the threads that stored, then a barrier");
  const Access now{d.block, d.clock(thread)[thread], uint16_t(thread), w.site};
  if (!w.is_write) return note_read(w, c, now);
  judge_write(w, c);
  c.write = now;
  c.read = {};
  if (c.readers >= 0) d.idle_readers.push_back(c.readers);
  c.readers = -1;
  c.earlier_block_read = 0;
  c.state = State::initialised;
  c.atomic = w.is_atomic;
  c.ordinary = true;
}

void access(const void* p, size_t bytes, bool is_write, Site site, bool is_atomic = false,
            bool by_engine = false) {
  const Machine& m = machine();
  if (!m.current || bytes == 0) return;
  const bool in_shared = m.shared.in_arena(p);
  if (!in_shared && m.stacks.contains(p)) return;
  const uintptr_t first =
      in_shared ? uintptr_t(static_cast<const char*>(p) - m.shared.arena()) : reinterpret_cast<uintptr_t>(p);
  Detector& d = detector();
  What w{is_write, is_atomic, by_engine, bytes, site, in_shared, first};
  static Cell outside;
  for (uintptr_t at = first / kCellBytes; at <= (first + bytes - 1) / kCellBytes; ++at) {
    w.place = at * kCellBytes;
    judge(w, !in_shared ? d.global.cell(w.place) : at < d.shared.size() ? d.shared[at] : outside);
  }
}

template <class Change>
void for_shared_cells(const void* p, size_t bytes, Change change) {
  const size_t first = size_t(static_cast<const char*>(p) - machine().shared.arena()) / kCellBytes;
  std::vector<Cell>& cells = detector().shared;
  const size_t end = first + (bytes + kCellBytes - 1) / kCellBytes;
  if (cells.size() < end) cells.resize(end);
  for (size_t i = first; i < end; ++i) change(cells[i]);
}

void land(const void* p, size_t bytes, const Access& by) {
  for_shared_cells(p, bytes, [&](Cell& c) {
    c = Cell{};
    c.write = by;
    c.state = State::initialised;
  });
}

}  // namespace

Cell& GlobalShadow::cell(uintptr_t address) {
  const uintptr_t number = address / kPageBytes;
  Recent& recent = recent_[number % recent_.size()];
  if (recent.number != number || !recent.page) {
    std::unique_ptr<Page>& page = pages_[number];
    if (!page) page = std::make_unique<Page>();
    recent = {number, page.get()};
  }
  return (*recent.page)[address % kPageBytes / kCellBytes];
}

void begin_grid() {
  detector().first_block = detector().block + 1;
}
void begin_block(int threads) {
  Detector& d = detector();
  ++d.block;
  d.threads = threads;
  d.clocks.assign(size_t(threads) * d.width(), 0);
  for (int t = 0; t < threads; ++t) d.clock(t)[t] = 1;
  d.fences.assign(size_t(threads), 0);
  d.engine_clock = 0;
  d.shared.clear();
  d.readers.clear();
  d.idle_readers.clear();
}
void allocate(const void* p, size_t bytes) {
  for_shared_cells(p, bytes, [](Cell& c) { c.state = State::uninitialised; });
}

void read(const void* p, size_t bytes, CallSite at) {
  access(p, bytes, false, Site(at));
}
void write(const void* p, size_t bytes, CallSite at) {
  access(p, bytes, true, Site(at));
}
void atomic(const void* p, size_t bytes, CallSite at) {
  access(p, bytes, true, Site(at), true);
}
void async_read(const void* p, size_t bytes, CallSite at) {
  access(p, bytes, false, Site(at), false, true);
}
void hooked(const void* p, size_t bytes, bool is_write, const void* return_address) {
  access(p, bytes, is_write, Site(return_address));
}

void issue_copy(const void* p, size_t bytes, CallSite at) {
  access(p, bytes, true, Site(at));
  for_shared_cells(p, bytes, [](Cell& c) { c.in_flight = true; });
}
void land_cp_async(const void* p, size_t bytes, CallSite at) {
  Detector& d = detector();
  const int thread = self().rank;
  land(p, bytes, {d.block, d.clock(thread)[thread], uint16_t(thread), Site(at)});
}
void land_bulk(const void* p, size_t bytes, Clock& arrivals, CallSite at) {
  Detector& d = detector();
  arrivals.resize(d.width(), 0);
  arrivals[size_t(d.threads)] = ++d.engine_clock;
  land(p, bytes, {d.block, d.engine_clock, uint16_t(d.threads), Site(at)});
}

void release(int thread, Clock& to) {
  Detector& d = detector();
  uint32_t* own = d.clock(thread);
  to.resize(d.width(), 0);
  for (size_t i = 0; i < to.size(); ++i) to[i] = std::max(to[i], own[i]);
  ++own[thread];
}
void acquire(int thread, const Clock& from) {
  uint32_t* own = detector().clock(thread);
  for (size_t i = 0; i < from.size(); ++i) own[i] = std::max(own[i], from[i]);
}
void join(const int* threads, int count) {
  Clock all;
  for (int i = 0; i < count; ++i) release(threads[i], all);
  for (int i = 0; i < count; ++i) acquire(threads[i], all);
}
void fence_async(int thread) {
  Detector& d = detector();
  d.fences[size_t(thread)] = ++d.clock(thread)[thread];
}

}  // namespace saslm::simt::race
