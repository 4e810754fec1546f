// mbarrier objects in shared memory (PTX ISA, "mbarrier"). What they count lies beside the memory, not in it.
#pragma once
#include "ptx/machine/run/machine.h"

namespace ptx {

// The mbarrier at an address of the lane; a fault where there is none.
Mbarrier& mbarrier_at(Warp& w, const Instr& in, int lane, uint64_t address);
// The phase ends when nothing is pending, and the next begins.
void end_phase_if_complete(Mbarrier& b);

}  // namespace ptx
