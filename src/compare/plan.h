// What a comparison will run, decided and checked before the first run: budgets turned into steps, variants
// held to be comparable, and the record that a later start is held to.
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
  Config config;  // resolved; steps and eval.every_steps are the comparison's, the seed is each run's
  Plan plan;      // for those steps, on one rank, whatever their number: results do not depend on it
  int64_t attention_parameters = 0;   // projections and simulation
  int64_t parameters_per_hidden = 0;  // by how many model.mlp.hidden + 1 has more
  double tokens_per_s = 0;            // as measured before the first run; only where seconds are budgeted
  std::vector<double> speed_rounds;   // likewise, of each of the rounds it is the median of

  double tokens() const { return double(plan.tokens_total); }
  double flops() const { return tokens() * plan.flops_per_token; }
};

struct ComparePlan {
  Budget budget = Budget::tokens;
  double budget_value = 0;  // tokens, FLOPs or seconds of every run
  int64_t eval_points = 0;
  size_t baseline = 0;
  int64_t ranks = 1;
  std::vector<uint64_t> seeds;
  std::vector<VariantPlan> variants;
  std::string train_fingerprint, val_fingerprint;  // of the tokens
  std::string eval_sample;                         // EvalSample::fingerprint; "" when everything is read
  std::string data;                                // one line for people

  const VariantPlan& base() const { return variants[baseline]; }
};

// Steps that use up the budget, to the nearest: value / (cost per step), where a step costs
//   tokens   tokens_per_step          flops   tokens_per_step * flops_per_token
//   seconds  tokens_per_step / tokens_per_s
// ConfigError when that is none, or more than a run may have.
int64_t budget_steps(Budget budget, double value, const VariantPlan& variant);

// Loads every variant and the data, and refuses (ConfigError, DataError) what cannot run, does not fit into
// available_bytes of memory (0 = unknown), or would not compare like with like. Steps are the base's until
// set_steps. sharing: so many ranks on this machine, each of which has that memory.
template <class T>
ComparePlan check_variants(const CompareFile& file, int64_t available_bytes, int sharing = 1);

// Gives every variant its steps, checked once more. Where seconds are budgeted, a variant without a
// tokens_per_s keeps those it has.
template <class T>
void set_steps(const CompareFile& file, ComparePlan& plan);

// "" where variant v has as many parameters as the baseline to within 1 %; else by how much they differ, and
// the model.mlp.hidden with which they would agree.
std::string parameters_note(const ComparePlan& plan, size_t v);

// DIR/comparison.json: all that decides what the runs compute, and the measured speeds.
nlohmann::ordered_json to_json(const ComparePlan& plan);

// One line for each way in which `now` asks for something else than what `stored` has begun. Further seeds
// and variants are none, nor is another baseline.
std::vector<std::string> changes_since(const nlohmann::ordered_json& stored,
                                       const nlohmann::ordered_json& now);

}  // namespace saslm
