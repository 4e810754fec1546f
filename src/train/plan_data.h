// Checks a plan's data before training, at a bounded cost for any amount of data: every shard's header, size
// and .json, every token of up to 64M (of more, a sample spread over all shards), and the tokenizers' files.
#pragma once
#include <string>
#include <vector>

#include "config/config.h"

namespace saslm {

struct PlanData {
  std::string problem;             // why a new run would be refused; "" if it would not
  std::vector<std::string> notes;  // what could not be compared, and what the run would lack
  int64_t tokenizer_bytes = 0;     // part of every checkpoint
};

PlanData look_at_data(const Config& config);

}  // namespace saslm
