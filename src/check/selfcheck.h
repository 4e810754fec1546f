// Checks the kernels of a run before it trains: a wrong kernel would otherwise show only as a worse loss.
// Every distinct call of the run (bench/recording.h), with its sizes and strides, is made on NaN-filled
// memory, twice, with every kernel for it, and compared with the CPU's operations in double (check_call.h). A
// fast kernel that is wrong or cannot be launched is avoided if another one is correct; if none is, the run
// ends. Needs device memory for the largest call, before the run allocates its own, and three times as much
// on the host.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "check/check_call.h"
#include "check/verdicts.h"
#include "train/kernel_check.h"

namespace saslm {

// Called with each call's results, for `saslm selfcheck`.
using EachCall = std::function<void(const std::string& op, const std::string& shape,
                                    const std::vector<PathResult>& results)>;

struct SelfcheckOptions {
  std::string folder = verdict_folder();  // "": no verdict is stored
  bool again = false;                     // ignore stored verdicts
  bool to_the_end = false;                // check all calls even if one has no correct kernel
  EachCall each = {};
};

// Everything that a verdict depends on: hardware, libraries, program and calls.
template <class T>
VerdictKey verdict_key(const Ops<T>& ops, const std::vector<KernelCall<T>>& calls);

// MachineError with operation and shape if a call has no correct kernel.
template <class T>
KernelVerdict selfcheck(const Config& config, const Ops<T>& ops, const SelfcheckOptions& options = {});

}  // namespace saslm
