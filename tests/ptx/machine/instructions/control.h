// The operands and variants of bar and barrier, as instructions/control.cpp decodes and run/barriers.cpp
// executes them.
#pragma once
#include <cstdint>

namespace ptx {

enum BarMode : uint8_t {
  kBarSync,
  kBarArrive,
  kBarCount,
  kBarAnd,
  kBarOr
};                                                                // Instr::mode; the last three: bar.red
enum BarOperand { kBarId, kBarThreads, kBarResult, kBarSource };  // Instr::op

}  // namespace ptx
