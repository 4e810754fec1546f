// Which accesses are ordered, by happens-before (PTX ISA, "Memory Consistency Model", for one block).
//
// Every warp keeps a vector clock: what it knows of each warp of its block. Barriers, bar.warp.sync and
// mbarriers join clocks; shuffles, votes, ldmatrix and mma order nothing. Threads of one warp are ordered by
// bar.warp.sync alone. Shared memory: two bytes are a cell, which remembers its last writer and the last
// readers of two warps (a third warp's read may be forgotten). Global memory: the same with one reader, for
// allocations of up to 48 MiB; between blocks of one launch nothing is ordered. Atomics are no part of
// either.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "ptx/machine/program/instruction.h"

namespace ptx {

using Clock = std::vector<uint32_t>;
void join(Clock& to, const Clock& from);

// One access: who and when. Without a thread nobody.
struct Stamp {
  static constexpr uint16_t kNobody = 0xffff;
  uint16_t thread = kNobody;
  uint32_t clock = 0;
  int instruction = 0;
};

struct SharedCell {
  Stamp write, read, other_read;  // other_read: of another warp than read
};

void note_shared(Warp& w, const Instr& in, int lane, uint32_t address, uint32_t bytes, bool write);

class GlobalRaces {
 public:
  void begin_launch() { first_of_launch_ = block_ + 1; }
  void begin_block() { ++block_; }
  void forget(const void* allocation);
  // The access lies in [begin, end), an allocation.
  void note(Warp& w, const Instr& in, int lane, uint64_t address, uint32_t bytes, bool write, uint64_t begin,
            uint64_t end);

 private:
  struct BlockStamp {
    uint32_t block = 0;
    Stamp stamp;
  };
  struct Shadow {
    uint64_t begin = 0, end = 0;
    std::vector<BlockStamp> write, read;  // of two bytes each
  };
  Shadow& shadow(uint64_t begin, uint64_t end);
  void tell(Warp& w, const Instr& in, int lane, const BlockStamp& s, const char* what, uint64_t byte,
            uint64_t size);

  std::map<uint64_t, Shadow> shadows_;
  Shadow* last_ = nullptr;
  uint32_t block_ = 1, first_of_launch_ = 1;  // numbered through all launches
};

}  // namespace ptx
