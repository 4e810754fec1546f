// What the race build remembers of memory: one cell for every two bytes.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "kernels/simt/launch_grid.h"

namespace saslm::simt::race {

// Where an access was made: a call site of a primitive, or the return address of a hook, in one word.
class Site {
 public:
  Site() = default;
  explicit Site(CallSite at) : word_(reinterpret_cast<uint64_t>(at.file) | uint64_t(at.line) << 48) {}
  explicit Site(const void* return_address) : word_(reinterpret_cast<uint64_t>(return_address)) {}
  std::string text() const;

 private:
  uint64_t word_ = 0;
};

struct Access {
  uint32_t block = 0;  // serial number of the block since the program began; 0: never
  uint32_t clock = 0;  // of the thread, within the block
  uint16_t thread = 0;
  Site site;
};

enum class State : uint8_t { unallocated, uninitialised, initialised };

struct Cell {
  Access write, read;
  State state = State::unallocated;
  bool in_flight = false;  // the destination of a copy
  bool atomic = false;     // the last write
  bool ordinary = false;   // the last write was a store, not a copy
  int readers = -1;        // several at once: a list of its own
  uint32_t earlier_block_read = 0;
};

class GlobalShadow {
 public:
  Cell& cell(uintptr_t address);

 private:
  static constexpr uintptr_t kPageBytes = 4096;
  using Page = std::array<Cell, kPageBytes / 2>;
  std::unordered_map<uintptr_t, std::unique_ptr<Page>> pages_;
  struct Recent {
    uintptr_t number = 0;
    Page* page = nullptr;
  };
  std::array<Recent, 64> recent_;
};

}  // namespace saslm::simt::race
