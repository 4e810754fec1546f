// The JSON file of a comparison: what is compared, under which budget, how often.
//
//   {"base": CONFIG or path, "variants": [{"name": "sas", "set": {"model.attention": {...}}}, ...],
//    "seeds": [1, 2, 3], "baseline": "mha", "budget": "tokens" | "flops" | "seconds",
//    "budget_value": 1e9, "eval_points": 20}
//
// As strict as a config (config/config.h): everything throws ConfigError naming file and path.
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
  std::string name;    // also part of a folder's name
  nlohmann::json set;  // dotted path -> the node that takes its place
};

struct CompareFile {
  std::string path;
  nlohmann::json base;    // a whole config
  std::string base_path;  // whose folder relative data paths start from
  std::vector<CompareVariant> variants;
  std::vector<uint64_t> seeds;
  size_t baseline = 0;  // index of a variant
  Budget budget = Budget::tokens;
  std::optional<double> budget_value;  // absent: what the baseline uses in the base's steps
  int64_t eval_points = 20;            // evaluations along a run, after the one before its first step
  int64_t ranks = 1;                   // that share each run's steps; said on the command line
};

// Whether the file at `path` asks for a comparison, and not for a run. ConfigError when it cannot be read. A
// pipe is not read, and never one.
bool is_compare_file(const std::string& path);

// `overrides` are those of --set: a key of the comparison (seeds=[1]), or one of the base's config
// (optim.lr=1e-3), which is refused when a variant sets it itself and so would not hear of it.
CompareFile load_compare_file(const std::string& path, const std::vector<std::string>& overrides = {});

// What a variant runs, with the base's number of steps or with this one. ConfigError also for a variant that
// is called mha, gqa, sas, ... and whose model is another.
Config variant_config(const CompareFile& file, const CompareVariant& variant,
                      std::optional<int64_t> steps = {});

}  // namespace saslm
