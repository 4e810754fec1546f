// What a self-check found (check/selfcheck.h), as the trainer takes it: kernels that a run does without.
#pragma once
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "config/config.h"

namespace saslm {

struct KernelVerdict {
  struct Wrong {
    std::string kernel, call, why;  // "attention_bwd.tile"; operation and shape
    bool operator==(const Wrong&) const = default;
  };
  int64_t calls = 0;   // distinct ones of the run; 0: nothing was checked
  double seconds = 0;  // that it took
  bool kept = false;   // from an earlier check of the same
  std::vector<Wrong> wrong;

  std::vector<std::string> kernels() const;  // the wrong ones' names, ascending
  bool operator==(const KernelVerdict&) const = default;
};
// Throws where no kernel is left for some call, and says for which.
using CheckKernels = std::function<KernelVerdict(const Config&)>;

// null of one that checked nothing.
nlohmann::ordered_json to_json(const KernelVerdict& verdict);

// What is wrong on any rank is so for all, so that they compute alike. All ranks call it.
KernelVerdict agreed(const Communicator& comm, KernelVerdict mine);

// What `check` finds of this run, if it is there and runtime.selfcheck is on. All ranks call it.
KernelVerdict checked_by_all(const Communicator& comm, const Config& config, const CheckKernels& check);

// For the log: "self-check: 57 calls ..., 3.2 s".
std::string summary(const KernelVerdict& verdict);

}  // namespace saslm
