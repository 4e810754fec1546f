// A kernel with the functions that it calls, parsed and decoded: what a launch runs.
#pragma once
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "ptx/machine/program/instruction.h"

namespace ptx {

// A line of the source (.loc), and of the call that it was inlined at.
struct Location {
  int file = 0, line = 0, inlined_file = 0, inlined_line = 0;
};

// A variable, or a parameter in .param space.
struct Variable {
  Space space;
  uint64_t offset;
  uint32_t size;
};

struct Param {
  uint32_t offset, size;
};

struct Function {
  std::string name;
  bool entry = false;
  int begin = -1;                      // index of its first instruction
  std::vector<Param> params, results;  // of an entry: in the launch's arguments; of a .func: in local memory
  uint32_t return_slot = 0;            // register that holds each lane's return address
};

// Bytes of local memory that a call moves: arguments before it, results after it.
struct Move {
  uint32_t from, to, size;
};
struct CallSite {
  int callee = -1;
  std::vector<Move> arguments, results;
};

enum class Number : uint8_t { u8, s8, u16, s16, u32, s32, u64, s64, f32, f64, bf16, f16 };

// cvt.to.from: see instructions/convert.cpp.
struct Conversion {
  Number to, from;
  char round = 'n';         // n, z, m, p
  bool to_integer = false;  // .rni and the like: a float rounded to an integral value
  bool saturate = false;
};

struct Special {
  uint32_t offset;
  std::string name;
};

struct Constant {
  uint32_t offset;
  std::vector<uint8_t> bytes;  // as a register holds them
};

struct Kernel {
  std::string name, pretty;  // mangled, demangled
  std::vector<Instr> code;
  std::vector<std::string> text;    // of each instruction
  std::vector<Function> functions;  // [0] is the entry
  std::vector<CallSite> calls;
  std::vector<std::vector<Operand>> lists;  // operands of mma and wgmma
  std::vector<Conversion> conversions;
  std::vector<Constant> constants;
  std::vector<Special> specials;
  std::vector<Location> locations;
  std::unordered_map<int, std::string> files;

  uint32_t register_bytes = 0;           // of a warp
  uint32_t local_bytes = 0;              // of a lane
  uint32_t static_shared = kSharedBase;  // where static variables end
  bool uses_dynamic_shared = false;
  uint32_t param_bytes = 0;
  int max_threads = 0;  // of a block (.maxntid, .reqntid); 0: any

  int index_of(const Instr& in) const { return int(&in - code.data()); }
};

}  // namespace ptx
