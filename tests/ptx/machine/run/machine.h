// The machine: a grid's blocks one after another, a block's warps in turn, a warp's 32 lanes side by side.
//
// Held to the PTX ISA (version 9.0): "Instruction Set" for what instructions do, "Parallel Synchronization
// and Communication Instructions" for who waits for whom. Memory is the host's. A Machine is used by one
// thread.
#pragma once
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ptx/machine/program/kernel.h"
#include "ptx/machine/run/allocations.h"
#include "ptx/machine/run/findings.h"
#include "ptx/machine/run/profile.h"
#include "ptx/machine/run/races.h"
#include "ptx/machine/run/settings.h"

namespace ptx {

struct Machine {
  Settings settings;
  Allocations allocations;
  Findings findings;
  GlobalRaces races;
  std::map<std::string, Profile> profiles;  // by kernel
};

// One cp.async of a lane, issued and not yet waited for.
struct Copy {
  uint32_t to;        // in shared memory
  uint64_t from;      // in global memory
  uint8_t bytes;      // written
  uint8_t read;       // of them; the rest is zero
  uint8_t early[16];  // what the source held at the issue
  int instruction;
};
struct AsyncCopies {
  std::vector<Copy> open;                // not yet in a group
  std::deque<std::vector<Copy>> groups;  // committed, the oldest first
};

struct Block;

struct Warp {
  enum class State { ready, at_barrier, done };

  uint8_t* registers = nullptr;
  Block* block = nullptr;
  const Kernel* k = nullptr;
  int index = 0;
  uint32_t live = 0;     // lanes that have not exited
  uint32_t exited = 0;   // lanes that have (a last warp that is not full lacks lanes in both)
  uint32_t blocked = 0;  // lanes that wait at a sync instruction or barrier for others of the warp
  int pc[kWarp] = {};
  bool carry[kWarp] = {};  // CC.CF
  State state = State::ready;
  int barrier = 0;  // at_barrier: which, and by which instruction
  const Instr* barrier_instr = nullptr;
  AsyncCopies async[kWarp];
  std::vector<uint8_t> local;  // of the lanes, one behind the other
  uint32_t local_bytes = 0;    // of one
  Clock clock;                 // races.h
  uint64_t steps = 0;          // instructions in this block

  template <class T>
  T* at(const Operand& o) {
    return reinterpret_cast<T*>(registers + o.offset);
  }
  // A slot of either width, as 64 bits.
  uint64_t value(const Operand& o, int lane) {
    return o.width == 8 ? at<uint64_t>(o)[lane] : at<uint32_t>(o)[lane];
  }
  void set_value(const Operand& o, int lane, uint64_t v) {
    if (o.width == 8) {
      at<uint64_t>(o)[lane] = v;
    } else {
      at<uint32_t>(o)[lane] = uint32_t(v);
    }
  }
  // Lanes where the predicate holds.
  uint32_t predicate(const Operand& o) {
    const uint32_t p = *at<uint32_t>(o);
    return o.negated ? ~p : p;
  }
  void set_predicate(const Operand& o, uint32_t lanes, uint32_t v) {
    if (o.width == 0) return;
    uint32_t& p = *at<uint32_t>(o);
    p = (p & ~lanes) | (v & lanes);
  }

  int thread(int lane) const { return index * kWarp + lane; }
  uint32_t now() const { return clock[size_t(index)]; }
  void tick() { ++clock[size_t(index)]; }
  // Learns what the others know; of itself it knows more.
  void learn(const Clock& from) {
    const uint32_t own = now();
    join(clock, from);
    clock[size_t(index)] = own;
  }

  Machine& machine();
  const Settings& settings() { return machine().settings; }
  void find(const Instr& in, const std::string& kind, const std::string& detail = {}) {
    machine().findings.add(*k, &in, kind, detail);
  }
  [[noreturn]] void fault(const Instr& in, int lane, const std::string& why);
};

// bar.sync, bar.arrive, bar.red of one id.
struct Barrier {
  int arrived = 0, expected = 0;  // warps
  std::vector<Warp*> waiting;
  Clock clock;
  uint32_t count = 0;  // of bar.red
  bool all = true, any = false;
};

struct Mbarrier {
  int expected = 0, pending = 0;  // arrivals
  int64_t bytes = 0;              // of transactions that are still to come
  uint32_t phase = 0;
  Clock clock;
};

// What is known of a byte of shared memory.
enum ByteState : uint8_t { kUnwritten = 0, kWritten = 1, kOnItsWay = 2 };  // on its way: by cp.async

struct Dim {
  uint32_t x = 1, y = 1, z = 1;
  uint64_t count() const { return uint64_t(x) * y * z; }
};

struct Block {
  Machine* machine = nullptr;
  const Kernel* k = nullptr;
  Dim id, grid, size;
  int threads = 0;
  std::vector<Warp> warps;
  std::vector<uint8_t> shared, state;  // state: ByteState
  std::vector<SharedCell> cells;       // one for 2 bytes
  uint32_t static_end = 0, shared_end = 0;
  uint32_t dynamic_bytes = 0;
  Barrier barriers[16];
  std::map<uint32_t, Mbarrier> mbarriers;  // by address
  const uint8_t* params = nullptr;
};

inline Machine& Warp::machine() {
  return *block->machine;
}

struct Launch {
  std::shared_ptr<const Kernel> kernel;
  Dim grid, block;
  uint32_t dynamic_shared = 0;
  const uint8_t* params = nullptr;  // as the kernel lays them out
  uint32_t param_bytes = 0;
};

// Runs all of it. Throws Fault; memory then holds what was written until then.
void run(Machine& machine, const Launch& launch);

// The parts of run, each in its own file.
void run_turn(Warp& w, uint64_t steps);  // turn.cpp: until it waits, is done, or has made about so many steps
bool arrive(Warp& w, const Instr& in);   // barriers.cpp: all lanes of the warp have come; whether it waits
void release(Barrier& barrier);          // barriers.cpp: all who wait go on
void end_copies(Warp& w);                // instructions/cp_async.cpp: at the end of a warp
void set_special_registers(Block& b);    // special_registers.cpp: all
void set_block_registers(Block& b);      // special_registers.cpp: those of the block's place in the grid

}  // namespace ptx
