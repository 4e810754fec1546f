// Result of a self-check (check/selfcheck.h) for the trainer: the kernels that a run must not use.
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
  int64_t calls = 0;   // distinct kernel calls of the run that were checked; 0: nothing was checked
  double seconds = 0;  // duration of the check
  bool kept = false;   // the result of an earlier, identical check was reused
  std::vector<Wrong> wrong;

  std::vector<std::string> kernels() const;  // names of the wrong kernels, ascending
  bool operator==(const KernelVerdict&) const = default;
};
// Throws if no correct kernel is left for some call, which the error names.
using CheckKernels = std::function<KernelVerdict(const Config&)>;

// null for a verdict without calls.
nlohmann::ordered_json to_json(const KernelVerdict& verdict);

// A kernel that is wrong on any rank is avoided on all, so that all compute alike. All ranks call it.
KernelVerdict agreed(const Communicator& comm, KernelVerdict mine);

// The agreed verdict of `check`, if it is given and runtime.selfcheck is on. All ranks call it.
KernelVerdict checked_by_all(const Communicator& comm, const Config& config, const CheckKernels& check);

// For the log: "self-check: 57 calls ..., 3.2 s".
std::string summary(const KernelVerdict& verdict);

}  // namespace saslm
