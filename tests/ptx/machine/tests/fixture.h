// A kernel written by hand, run by the machine.
//
// The body stands in an entry whose registers are declared: %r<64> (b32), %rd<32> (b64), %f<16> (f32), %d<8>
// (f64), %h<16> (b16), %p<8> (pred). It finds in %r0 the thread's index in the block, in %rd0 the address of
// `out` (one word a thread of the grid, and 64 more), in %rd1 that of `in`, and leaves its result in %r63,
// which is stored behind it.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "ptx/machine/run/machine.h"

namespace ptx {

struct Conditions {
  uint32_t threads = 32, blocks = 1;
  uint32_t dynamic_shared = 0;
  std::vector<uint32_t> in = std::vector<uint32_t>(64);
  Settings settings = {};
  std::string before = "";  // of the module, in front of the entry
};

struct Outcome {
  std::vector<uint32_t> out;          // a word a thread
  std::vector<std::string> findings;  // their kinds, in order
  std::vector<std::string> details;   // of the findings
  std::string fault;                  // what ended the launch; empty: it has ended well
  Profile profile;
};

Outcome run_body(const std::string& body, const Conditions& conditions = {});
std::string decoding_error(const std::string& body);  // of an instruction that is not known

// The results of all lanes, or of lane 0, of a body that must run without a finding.
std::vector<uint32_t> lanes_of(const std::string& body, const Conditions& conditions = {});
uint32_t value_of(const std::string& body, const Conditions& conditions = {});
uint64_t value64_of(const std::string& body, const Conditions& conditions = {});  // in %rd31
float float_of(const std::string& body);                                          // in %f15
double double_of(const std::string& body);                                        // in %d7

std::string bits(float f);  // as PTX writes it: 0f3f800000
std::string bits(double d);

}  // namespace ptx
