// What `diff` and `verify` print.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "verify/state_diff.h"

namespace saslm {

nlohmann::ordered_json to_json(const StateDifference& difference);
// On stdout; `a` and `b` name the two sides.
void print(const StateDifference& difference, const std::string& a, const std::string& b);

}  // namespace saslm
