// Which kernels the runs of a plan would get: nothing on a CPU, and where the GPU that they want is not here.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "app/print_plans.h"

namespace saslm {

// [{"call", "kernel", "text", "slow"}], null where nothing is known; "slow": reason and remedy, or null.
nlohmann::ordered_json kernels_json(const Config& config);
// A line a call, slow ones with a warning: those of the first config, and what the others have besides.
void print_kernels(const std::vector<Planned>& plans);

}  // namespace saslm
