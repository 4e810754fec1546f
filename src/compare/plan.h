// The plan of a comparison, checked before the first run: steps from budgets, comparability of variants, and
// the record that a later start must match.
#pragma once
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "compare/file.h"
#include "train/plan.h"

namespace saslm {

struct VariantPlan {
  std::string name;
  Config config;  // resolved; the comparison sets steps and eval.every_steps, each run its seed
  Plan plan;      // for those steps on one rank: results do not depend on the number of ranks
  int64_t attention_parameters = 0;   // projections and simulation
  int64_t parameters_per_hidden = 0;  // parameters added per unit of model.mlp.hidden
  double tokens_per_s = 0;            // measured before the first run; only for budgets of seconds
  std::vector<double> speed_rounds;   // of each round; tokens_per_s is their median

  double tokens() const { return double(plan.tokens_total); }
  double flops() const { return tokens() * plan.flops_per_token; }
};

struct ComparePlan {
  Budget budget = Budget::tokens;
  double budget_value = 0;  // tokens, FLOPs or seconds per run
  int64_t eval_points = 0;
  size_t baseline = 0;
  int64_t ranks = 1;
  std::vector<uint64_t> seeds;
  std::vector<VariantPlan> variants;
  std::string train_fingerprint, val_fingerprint;  // of the tokens
  std::string eval_sample;  // EvalSample::fingerprint; "" if evaluations read everything
  std::string data;         // one line for the user

  const VariantPlan& base() const { return variants[baseline]; }
};

// Steps that use up the budget, to the nearest: value / (cost per step), where a step costs
//   tokens   tokens_per_step          flops   tokens_per_step * flops_per_token
//   seconds  tokens_per_step / tokens_per_s
// ConfigError when that is none, or more than a run may have.
int64_t budget_steps(Budget budget, double value, const VariantPlan& variant);

// Loads every variant and the data. Throws ConfigError or DataError for what cannot run, does not fit into
// available_bytes of memory (0 = unknown), or would be an unfair comparison. Steps are the base's until
// set_steps. sharing: the number of ranks on this machine, each with that memory.
template <class T>
ComparePlan check_variants(const CompareFile& file, int64_t available_bytes, int sharing = 1);

// Sets every variant's steps and checks again. With a budget of seconds, a variant without tokens_per_s keeps
// its steps.
template <class T>
void set_steps(const CompareFile& file, ComparePlan& plan);

// "" if variant v has the baseline's number of parameters within 1 %; else the difference, and the
// model.mlp.hidden that would match.
std::string parameters_note(const ComparePlan& plan, size_t v);

// DIR/comparison.json: everything that determines what the runs compute, and the measured speeds.
nlohmann::ordered_json to_json(const ComparePlan& plan);

// One line per difference between `now` and the comparison started as `stored`. Additional seeds and
// variants, and another baseline, are not differences.
std::vector<std::string> changes_since(const nlohmann::ordered_json& stored,
                                       const nlohmann::ordered_json& now);

}  // namespace saslm
