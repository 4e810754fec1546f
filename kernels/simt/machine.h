// The machine: what one block needs while it runs. Blocks run one after another on one OS thread, so there is
// one machine, and a kernel, which can name none, always means machine().
//
//   scheduler.cpp      which thread runs next          shared_memory.cpp  the arena of a block
//   grid.cpp           launch: blocks and threads      barriers.cpp       block and named barriers
//   collectives.cpp    shuffles, votes, warp_sync      cp_async.cpp       cp.async
//   mma.cpp            ldmatrix, mma.sync              mbarrier_tma.cpp   mbarrier, bulk copies, TMA
//   wgmma.cpp          wgmma                           race*.cpp          the race build (shadow.h)
#pragma once
#include <cstdint>
#include <deque>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/simt/cpu_launch.h"
#include "kernels/simt/fiber.h"
#include "kernels/simt/race.h"

namespace saslm::simt {

inline constexpr int kMaxThreads = 1024, kMaxWarps = kMaxThreads / kWarp, kBarriers = 16;
inline constexpr int kWarpgroup = 4 * kWarp;

struct CopyInFlight {  // one cp.async
  char* dst;
  const char* src;
  size_t bytes;
  bool valid;
  CallSite at;
};

struct Accumulator {  // a wgmma accumulator while the product is under way
  float* registers;
  std::vector<float> value;
  int last_issue;
};

struct Thread {
  Fiber fiber;
  uint3 index{};
  int rank = 0, lane = 0, warp = 0;
  bool exited = false;
  const char* waits_in = nullptr;
  CallSite waits_at;
  std::vector<CopyInFlight> copies;
  std::vector<size_t> copy_groups;  // where in copies each committed group ends
  bool wgmma_fenced = false;
  int wgmma_issued = 0;
  std::vector<int> wgmma_commits;  // wgmma_issued at each commit
  std::vector<Accumulator> accumulators;

  void begin();  // of a block
};

struct Collective {  // of a warp; open until every lane of the mask has come
  const char* what;
  unsigned mask, arrived;
  void* argument[kWarp];
  CallSite at[kWarp];
};
struct Warp {
  unsigned members = 0, ready = 0;  // lanes
  std::vector<Collective> open;
  Clock wgmma_clock;
};

struct Barrier {
  bool open = false;
  int wanted = 0, arrived = 0, predicates = 0, result = 0;
  std::vector<int> waiting;
  CallSite first_of_warp[kMaxWarps];
  Clock clock;
};

struct MBarrier {
  uint64_t* object;
  int phase, expected, pending;
  int64_t bytes;  // expected minus arrived
  struct Waiter {
    int thread, parity;
  };
  std::vector<Waiter> waiting;
  Clock arrivals, completed;
};

struct TensorMap2d {  // stands for CUtensorMap; 16-bit elements
  const void* base;
  uint64_t extent[2];  // elements; [0] is contiguous
  uint64_t pitch_bytes;
  uint32_t box[2];
};
struct BulkCopy {
  char* dst;
  const char* src;  // or
  TensorMap2d map;
  bool tensor;
  int x, y;
  size_t bytes;
  uint64_t* barrier;
  CallSite at;
};

struct Wgmma {  // one product of a warpgroup
  float* registers[kWarpgroup];
  uint64_t a, b;
  int columns;
  bool accumulate, b_transposed;
  int issued;  // by how many of its threads
  CallSite at;
};
struct Warpgroup {
  std::vector<Wgmma> products;
  int complete = 0;      // products issued by all four warps
  int executed[4] = {};  // per warp
  std::vector<int> waiting;
};

struct SharedVariable {
  const void* identity;
  char* data;
  size_t bytes;
};

class SharedMemory {
 public:
  SharedMemory();
  void begin_block(size_t dynamic_bytes);
  void* variable(const void* identity, size_t bytes, size_t alignment, const char* name);
  char* dynamic() const { return arena_; }
  size_t dynamic_bytes() const { return dynamic_bytes_; }
  bool contains(const void* p, size_t bytes) const;
  // Fails unless [p, p + bytes) is shared memory of this block, aligned.
  void check(const void* p, size_t bytes, size_t alignment, const char* what, CallSite) const;

  // Place in the arena; the GPU's shared window starts at no round address either.
  static constexpr uint32_t kWindow = 0x400;
  uint32_t address(const void* p) const { return kWindow + uint32_t(static_cast<const char*>(p) - arena_); }
  char* pointer(uint32_t address) const { return arena_ + (address - kWindow); }
  bool in_arena(const void* p) const { return p >= arena_ && p < arena_ + kArenaBytes; }
  const char* arena() const { return arena_; }

 private:
  static constexpr size_t kArenaBytes = 512 * 1024;
  char* arena_;
  size_t dynamic_bytes_ = 0, static_bytes_ = 0, top_ = 0;
  std::vector<SharedVariable> variables_;
};

struct Machine {
  LaunchOptions options;
  std::mt19937 random;
  const LaunchGrid* grid = nullptr;  // while a grid runs
  void (*body)(void*) = nullptr;
  void* context = nullptr;

  Fiber caller;
  FiberStacks stacks{kMaxThreads};
  std::unique_ptr<Thread[]> threads;
  Thread* current = nullptr;  // while a thread runs
  int thread_count = 0, live = 0;
  std::string failure;

  Warp warps[kMaxWarps];
  unsigned ready_warps = 0;
  Barrier barriers[kBarriers];
  SharedMemory shared;
  std::vector<MBarrier> mbarriers;
  std::deque<BulkCopy> bulk_copies;
  Warpgroup warpgroups[kMaxThreads / kWarpgroup];

  Machine();
  int warp_count() const { return (thread_count + kWarp - 1) / kWarp; }
};
Machine& machine();
inline Thread& self() {
  return *machine().current;
}

// scheduler.cpp
void make_ready(int thread);
void make_ready(int warp, unsigned lanes);
void wait(const char* what, CallSite);  // until someone makes this thread ready
void yield();
void yield_unless_forward();
void run_block_threads();

// report.cpp: a fault of the kernel under test. advice says what to do.
[[noreturn]] void fail(const std::string& what, const std::string& advice, CallSite);
// The same from where no exception may pass: a hook that the compiler inserted.
[[noreturn]] void fail_from_hook(const std::string& what, const std::string& advice);
std::string text(CallSite);
std::string describe(const Thread&);
std::string describe_waiting();  // who waits where
bool same(CallSite, CallSite);

// mbarrier_tma.cpp
void deliver_bulk_copy(size_t index);

}  // namespace saslm::simt
