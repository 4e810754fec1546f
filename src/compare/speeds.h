// Measures each variant's training speed before the first run, for a budget of seconds.
#pragma once
#include <functional>

#include "comm/communicator.h"
#include "compare/compare.h"
#include "ops/ops.h"

namespace saslm {

// Whether fastest / slowest is at most kSteadySpeeds; needs at least one speed.
bool steady(std::span<const double> speeds);

// Measures missing speeds, all variants in interleaved rounds, so that load on the machine affects all
// equally. Rounds repeat, up to a limit, until the last three agree within 10 %; otherwise a warning is
// printed. Known speeds stay, but are measured again beside new ones: ConfigError if the machine's speed has
// changed. False if told to stop. All ranks call it and get the same results.
template <class T>
bool measure_speeds(ComparePlan& plan, const Ops<T>& ops, const Communicator& comm, CompareObserver& observer,
                    const std::function<bool()>& stop);

}  // namespace saslm
