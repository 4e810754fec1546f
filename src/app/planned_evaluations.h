// A run's evaluations, for `saslm plan`.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "config/config.h"

namespace saslm {

struct PlannedEvaluations {
  int64_t number = 0;
  std::optional<int64_t> sequences;  // per evaluation; nullopt: all of data that does not exist yet
  std::optional<double> share;       // fraction of the run's FLOPs
  bool at_most = false;              // data.val does not exist yet and may have fewer sequences

  std::string sequences_text() const;
  std::string share_text() const;
  nlohmann::ordered_json as_json() const;
};

// Counts sequences by the headers of data.val's shards.
PlannedEvaluations plan_evaluations(const Config& config);

}  // namespace saslm
