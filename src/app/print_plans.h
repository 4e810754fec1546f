// Plans side by side on standard output: what `saslm plan` and `saslm compare --dry-run` show.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "compare/plan.h"
#include "config/config.h"
#include "train/plan.h"

namespace saslm {

struct Planned {
  std::string path;  // of its config
  Config config;
  Plan plan;
  std::string name = {};  // of its column; empty: the file's name
};

// Plans for the device in the config, even if it is missing on this machine.
Plan plan_for(const Config& config);

nlohmann::ordered_json as_json(const Planned& planned);
void print_text(const std::vector<Planned>& plans, bool buffers);

struct PrintPlans {
  bool json = false, buffers = false;
};

// All variants of a comparison, the baseline first, after its budget, seeds and data.
void print_comparison(const ComparePlan& plan, const std::string& path, const PrintPlans& how);

}  // namespace saslm
