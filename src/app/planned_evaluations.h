// What `saslm plan` says of a run's evaluations.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "config/config.h"

namespace saslm {

struct PlannedEvaluations {
  int64_t number = 0;
  std::optional<int64_t> sequences;  // of each; nothing: all of what is not there yet
  std::optional<double> share;       // of all FLOPs of the run
  bool at_most = false;              // data.val is not there yet: it may hold fewer sequences

  std::string sequences_text() const;
  std::string share_text() const;
  nlohmann::ordered_json as_json() const;
};

// Counts sequences by the headers of data.val's shards.
PlannedEvaluations plan_evaluations(const Config& config);

}  // namespace saslm
