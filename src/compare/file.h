// The JSON file of a comparison: variants, budget, seeds.
//
//   {"base": CONFIG or path, "variants": [{"name": "sas", "set": {"model.attention": {...}}}, ...],
//    "seeds": [1, 2, 3], "baseline": "mha", "budget": "tokens" | "flops" | "seconds",
//    "budget_value": 1e9, "eval_points": 20}
//
// Strict like a config (config/config.h): every problem is a ConfigError with file and path.
#pragma once
#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"

namespace saslm {

enum class Budget { tokens, flops, seconds };
inline constexpr std::array kBudgets = {Budget::tokens, Budget::flops, Budget::seconds};
const char* name_of(Budget budget);  // the JSON word

struct CompareVariant {
  std::string name;    // also part of folder names
  nlohmann::json set;  // dotted path -> replacement node
};

struct CompareFile {
  std::string path;
  nlohmann::json base;    // a whole config
  std::string base_path;  // relative data paths start at its folder
  std::vector<CompareVariant> variants;
  std::vector<uint64_t> seeds;
  size_t baseline = 0;  // index of a variant
  Budget budget = Budget::tokens;
  std::optional<double> budget_value;  // default: what the baseline uses in the base's steps
  int64_t eval_points = 20;            // evaluations along a run, besides the one before its first step
  int64_t ranks = 1;                   // set on the command line
};

// Whether the file at `path` describes a comparison, not a run. ConfigError if it cannot be read. A pipe is
// not read and counts as a run.
bool is_compare_file(const std::string& path);

// `overrides` from --set: a key of the comparison (seeds=[1]) or of the base's config (optim.lr=1e-3), which
// is refused if a variant sets it, since it would have no effect there.
CompareFile load_compare_file(const std::string& path, const std::vector<std::string>& overrides = {});

// A variant's config, with the base's number of steps or the given one. ConfigError also if a variant is
// named mha, gqa, sas, ... but its model is of another kind.
Config variant_config(const CompareFile& file, const CompareVariant& variant,
                      std::optional<int64_t> steps = {});

}  // namespace saslm
