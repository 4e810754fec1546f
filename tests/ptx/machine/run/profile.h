// What was executed, by kernel: launches, warp instructions by class, bank conflicts, sectors. PTX_PROFILE.
#pragma once
#include <cstdint>
#include <cstdio>
#include <map>
#include <set>
#include <string>

#include "ptx/machine/program/kernel.h"

namespace ptx {

struct Block;
struct Machine;

const char* class_name(Class c);

struct Traffic {
  uint64_t sectors = 0, wanted = 0;  // of 32 bytes; bytes
};

struct Profile {
  uint64_t launches = 0, blocks = 0;
  uint32_t threads = 0, shared = 0;  // of a block, the last launch
  std::set<std::string> grids;
  double seconds = 0;
  uint64_t total = 0, counts[size_t(Class::count)] = {};
  uint64_t conflicts = 0, sectors = 0;
  std::map<std::string, uint64_t> conflict_places;
  std::map<std::string, Traffic> traffic;

  // Adds a launch that has ended, and takes its counts out of the instructions.
  void add(const Block& block, double took_seconds);
};

// All kernels, then all findings, appended to the file that the settings name.
void write_profiles(const Machine& machine);

}  // namespace ptx
