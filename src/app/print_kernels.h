// Prints the kernels that planned runs would use: nothing on a CPU, or if the GPU is not on this machine.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "app/print_plans.h"

namespace saslm {

// [{"call", "kernel", "text", "slow"}], null if unknown; "slow": reason and remedy, or null.
nlohmann::ordered_json kernels_json(const Config& config);
// One line per call, slow ones with a warning: those of the first config, and additional ones of the others.
void print_kernels(const std::vector<Planned>& plans);

}  // namespace saslm
