// What the machine has executed so far, for a program that is linked over it and wants to tell.
#pragma once
#include <cstdint>
#include <map>
#include <string>

namespace ptx {

struct Executed {
  uint64_t launches = 0, blocks = 0;
  uint64_t instructions = 0;                // of warps
  std::map<std::string, uint64_t> classes;  // the same by class: "mma", "ldmatrix", "ld.shared", "bar" ...
  uint64_t conflicts = 0;  // wavefronts of shared memory beyond the least that an access takes
  uint64_t sectors = 0;    // of global memory, 32 bytes each
};

// From now on conflicts and sectors are counted, as PTX_CONFLICTS=1 has it; else they stay 0.
void count_conflicts();

// By all kernels since the program began.
Executed executed();

}  // namespace ptx
