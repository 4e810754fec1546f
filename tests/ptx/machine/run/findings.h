// What the machine has to say of a kernel: findings, after which it goes on, and faults, which end the
// launch.
#pragma once
#include <cstdio>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "ptx/machine/program/kernel.h"

namespace ptx {

struct Fault : std::runtime_error {
  using runtime_error::runtime_error;
};

std::string place(const Kernel& k, const Instr& in);  // line of the PTX and, where it is known, of the source
std::string hex(uint64_t v);

struct Finding {
  std::string kind, kernel, where, text, detail;
  uint64_t times = 0;
};

// Each kind once for each instruction. The first three of a kind and kernel are printed, all are in the
// profile.
class Findings {
 public:
  explicit Findings(std::FILE* out = stderr) : out_(out) {}
  void add(const Kernel& k, const Instr* in, const std::string& kind, const std::string& detail = {});
  const std::vector<Finding>& all() const { return all_; }

 private:
  void print(const Kernel& k, const Finding& f);

  std::FILE* out_;  // null: nothing is printed
  std::vector<Finding> all_;
  std::map<std::string, size_t> index_;
  std::map<std::string, int> printed_;
};

}  // namespace ptx
