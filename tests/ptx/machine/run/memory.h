// Addresses of lanes turned into memory, with checks (PTX ISA, "State Spaces", "Addresses as Operands").
//
// Checked: alignment to the size of the access; that all of it lies in the variable's space (shared: in the
// static or the dynamic part; global: in one allocation; param, local: in the kernel's frame); that
// parameters are not written. These are faults. Shared memory that nobody wrote, that a cp.async is on its
// way to, and races are findings. Not checked: bounds between variables of shared memory; whether global
// memory was ever written.
#pragma once
#include "ptx/machine/run/machine.h"

namespace ptx {

enum class Access { read, write, atomic };  // atomic: both, and no race

// The lane's memory of that many bytes, to be read or written at once.
uint8_t* memory(Warp& w, const Instr& in, int lane, uint64_t address, uint32_t bytes, Access access);
uint8_t* shared_memory(Warp& w, const Instr& in, int lane, uint64_t address, uint32_t bytes, Access access);
uint8_t* global_memory(Warp& w, const Instr& in, int lane, uint64_t address, uint32_t bytes, Access access);
// The same without an alignment: of a copy's part.
uint8_t* global_bytes(Warp& w, const Instr& in, int lane, uint64_t address, uint32_t bytes, Access access);
// An address of shared memory, of 32 or 64 bits or generic, as an offset into it.
uint64_t shared_offset(const Instr& in, uint64_t address);

struct Addresses {
  uint64_t of[kWarp];
};
Addresses addresses(Warp& w, const Instr& in);  // in.address + in.imm

}  // namespace ptx
