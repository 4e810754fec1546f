// What a run is checked for, and how. In a program from the environment (tests/ptx/README.md lists the
// names).
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "ptx/machine/program/mutant.h"

namespace ptx {

struct Settings {
  // The device.
  int architecture = 80;  // PTX_ARCH: 80, 86, 90, ...
  int shared_kib = 163;   // PTX_SHARED_KIB: dynamic shared memory of a block; else as the architecture has it
  int processors = 108;   // PTX_SMS

  // Checks.
  bool race = true;           // PTX_RACE: shared memory
  bool global_race = true;    // PTX_GLOBAL_RACE
  bool uninitialised = true;  // PTX_UNINIT: shared memory that nobody wrote
  bool any_memory = false;    // PTX_ANY_MEMORY: the whole memory of the host may be touched
  bool keep_going = false;    // PTX_KEEP_GOING: a fault ends its launch, but not the context
  uint64_t max_steps = 0;     // PTX_MAX_STEPS: instructions of a warp in a block; 0: no limit

  // Orders and values that the ISA leaves open.
  bool cp_async_late = true;  // PTX_CPASYNC_LATE: the source is read at the wait; else at the issue
  unsigned schedule = 0;      // PTX_SCHEDULE: 0: warps and blocks in order; else a seed
  unsigned rough = 0;         // PTX_ROUGH: a seed: approximations and mma as rough as the hardware's

  // Output.
  bool conflicts = false;        // PTX_CONFLICTS: bank conflicts and sectors are counted
  bool verbose = false;          // PTX_VERBOSE: every launch on stderr
  std::string profile;           // PTX_PROFILE: file to append to; "-": stderr
  std::optional<Mutant> mutant;  // PTX_EDIT=from=>to, PTX_EDIT_NTH

  static Settings from_environment();  // throws std::runtime_error: PTX_EDIT without =>
};

}  // namespace ptx
