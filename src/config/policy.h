// What a config key decides beyond one process: its rule's on_resume and across_ranks, by path.
#pragma once
#include <string>

#include "config/rule.h"

namespace saslm {

struct Policy {
  OnResume on_resume = OnResume::same;
  AcrossRanks across_ranks = AcrossRanks::same;
};

// Never `inherited`. `pointer`: a JSON pointer into a resolved config, such as "/optim/betas/0". A list's
// entries have their key's policy, an unknown key has its block's, and an unknown block has `same` twice.
Policy policy_of(const std::string& pointer);

}  // namespace saslm
