// How fast each variant trains here, for a budget of seconds: measured side by side before the first run.
#pragma once
#include <functional>

#include "comm/communicator.h"
#include "compare/compare.h"
#include "ops/ops.h"

namespace saslm {

// The fastest over the slowest of these, at least one, is within what counts as one speed.
bool steady(std::span<const double> speeds);

// Fills in the speeds that are not known, of all variants in rounds: what slows the machine down for a while
// slows all of them. Rounds are repeated, up to some limit, until the last three agree within 10 %; where
// they never do, a warning says so. Speeds that are known stay, and are measured beside new ones: ConfigError
// when the machine is not as fast as it was. False when told to stop. All ranks call it, and know the same.
template <class T>
bool measure_speeds(ComparePlan& plan, const Ops<T>& ops, const Communicator& comm, CompareObserver& observer,
                    const std::function<bool()>& stop);

}  // namespace saslm
