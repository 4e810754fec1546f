// The data that a plan is for, looked at before anything is trained and at little cost however much there is:
// every shard's header, size and .json, every token of up to 64M and a spread sample of more, the tokenizers'
// files.
#pragma once
#include <string>
#include <vector>

#include "config/config.h"

namespace saslm {

struct PlanData {
  std::string problem;             // why a first start of the run would be refused; "" where it would not
  std::vector<std::string> notes;  // what could not be compared, and what a run would do without
  int64_t tokenizer_bytes = 0;     // which every checkpoint has beside its tensors
};

PlanData look_at_data(const Config& config);

}  // namespace saslm
