// Costs of memory that can be counted: bank conflicts and sectors. With PTX_CONFLICTS alone.
//
// Shared memory has 32 banks of 4 bytes. Lanes that access different words of a bank take a wavefront each;
// accesses of 8 and 16 bytes are made by half and quarter warps. Global memory moves sectors of 32 bytes,
// counted per instruction.
#pragma once
#include "ptx/machine/run/memory.h"

namespace ptx {

void count_shared(const Instr& in, uint32_t lanes, const Addresses& a, uint32_t bytes);
void count_global(const Instr& in, uint32_t lanes, const Addresses& a, uint32_t bytes);
void count_access(const Instr& in, uint32_t lanes, const Addresses& a,
                  uint32_t bytes);  // by the instruction's space

}  // namespace ptx
