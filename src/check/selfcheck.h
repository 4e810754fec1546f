// The kernels of a run against what they must compute, before it trains: a wrong one shows otherwise only as
// a worse loss. Every distinct call of the run (bench/recording.h), with its sizes and strides, is made on
// memory full of NaN, twice, by every kernel there is for it, and held to the CPU's operations in double
// (check_call.h). A fast kernel that is wrong, or cannot be launched, is left out where another one is right;
// where none is, the run ends. Costs memory of the device as large as the largest call touches, before the
// run takes its own; the host has three times as much.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "check/check_call.h"
#include "check/verdicts.h"
#include "train/kernel_check.h"

namespace saslm {

// Looks at a call's results as they come: for `saslm selfcheck`.
using EachCall = std::function<void(const std::string& op, const std::string& shape,
                                    const std::vector<PathResult>& results)>;

struct SelfcheckOptions {
  std::string folder = verdict_folder();  // "": nothing is kept
  bool again = false;                     // what is kept from earlier is not looked at
  bool to_the_end = false;                // a call without a right kernel ends the check after all others
  EachCall each = {};
};

// All that a verdict holds for: what computes, this program, and the calls.
template <class T>
VerdictKey verdict_key(const Ops<T>& ops, const std::vector<KernelCall<T>>& calls);

// MachineError, naming operation and shape, when a call has no right kernel.
template <class T>
KernelVerdict selfcheck(const Config& config, const Ops<T>& ops, const SelfcheckOptions& options = {});

}  // namespace saslm
