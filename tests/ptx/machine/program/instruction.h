// One decoded instruction: what runs it, on which registers, and how the main loop (run/turn.cpp) treats it.
//
// Registers lie in a warp's register file, one slot a lane: 4 bytes (types of up to 32 bits), 8 bytes (64
// bits), and for predicates one word of 32 bits, a bit a lane. A type narrower than its register takes the
// low bits; results are written zero-extended, except signed loads and conversions, which sign-extend (PTX
// ISA, "Operand size exceeding instruction-type size").
#pragma once
#include <cstdint>

namespace ptx {

constexpr int kWarp = 32;
constexpr uint32_t kAllLanes = ~0u;

// State spaces. Generic addresses hold the space in their upper four bits: 0 is global.
enum class Space : uint8_t { generic, global, shared, local, param, constant };
constexpr uint64_t kSharedWindow = uint64_t(1) << 60;
constexpr uint64_t kLocalWindow = uint64_t(2) << 60;
constexpr uint32_t kSharedBase = 1024;  // no variable of shared memory has address 0
constexpr uint32_t kDynamicShared =
    kSharedBase + 47 * 1024;                          // where the dynamic part begins: behind any static one
constexpr uint32_t kParamOfFunc = uint32_t(1) << 31;  // .param of a .func: an offset into local memory

struct Warp;
struct Instr;
using Execute = void (*)(Warp&, const Instr&, uint32_t lanes);

enum class Kind : uint8_t {
  plain,       // execute, in the lanes of the guard
  branch,      // to target
  exit,        // of the lane
  call,        // of functions[calls[extra].callee]
  after_call,  // takes the results
  ret,         // from a .func; in an entry it is exit
  sync,     // execute once all lanes that it names have come: shfl, vote, ldmatrix, mma, bar.warp.sync, wgmma
  barrier,  // of the block
  poll,     // plain, and other warps get a turn after it
  trap,
};

struct Operand {
  uint32_t offset = 0;   // in the register file, bytes
  uint8_t width = 0;     // 4, 8: bytes of a slot; 1: predicate; 0: no operand
  bool negated = false;  // of a predicate
};

// What instructions are counted as: PTX_PROFILE.
enum class Class : uint8_t {
  mma,
  ldmatrix,
  ld_shared,
  st_shared,
  ld_global,
  st_global,
  cp_async,
  ex2,
  sfu,
  fma,
  single,
  real64,
  integer,
  shuffle,
  bar,
  warp_sync,
  branch,
  atomic,
  local,
  other,
  count
};

struct Instr {
  Kind kind = Kind::plain;
  Space space = Space::generic;
  uint8_t elements = 1;  // of a vector access
  uint8_t bytes = 0;     // of one element
  Class counted = Class::other;
  bool is_signed = false;  // sign-extend what is loaded; compare as signed
  bool has_mask = false;   // sync: op[kMask] names the lanes; else all
  uint8_t mode = 0;        // variant of one function
  bool guard_not = false;
  int32_t guard = -1;         // offset of a predicate register
  int32_t target = -1;        // branch: index of an instruction
  int32_t extra = -1;         // index into one of the kernel's lists: operands, calls, conversions, functions
  int32_t line = 0;           // in the PTX
  int32_t location = -1;      // index into Kernel::locations
  uint32_t used_bytes = ~0u;  // loads: which of the bytes are used (pragma used_bytes_mask)
  Execute execute = nullptr;
  static constexpr int kMask = 7;  // the operand that names the lanes
  Operand op[8];
  Operand address;
  int64_t imm = 0;         // offset of the address, or an immediate
  int64_t source_imm = 0;  // copies: offset of the source's address

  // Noted at run time.
  mutable uint64_t range_begin = 0, range_end = 0;  // the allocation that it reached last
  mutable uint64_t executed = 0;                    // times, by a warp
  mutable uint64_t conflicts = 0;                   // shared memory: wavefronts beyond the least
  mutable uint64_t sectors = 0;                     // global memory: sectors of 32 bytes
  mutable uint64_t wanted = 0;                      // global memory: bytes that lanes asked for
};

}  // namespace ptx
