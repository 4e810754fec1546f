#include "app/planned_evaluations.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "data/eval_sample.h"
#include "data/token_set.h"
#include "train/eval_schedule.h"

namespace saslm {

PlannedEvaluations plan_evaluations(const Config& config) {
  PlannedEvaluations planned;
  const int64_t most = config.eval.max_sequences;
  if (most > 0) planned.sequences = most;
  try {
    const int64_t all = count_samples(config.data.val, config.train.seq_len);
    planned.sequences = most > 0 ? std::min(most, all) : all;
  } catch (const Error&) {
    planned.at_most = true;
  }
  const EvalSchedule schedule = eval_schedule(config, planned.sequences.value_or(1));
  planned.number = schedule.evaluations_from(0);
  if (planned.sequences) planned.share = schedule.share();
  return planned;
}

std::string PlannedEvaluations::sequences_text() const {
  if (!sequences) return "all";
  return (at_most ? "<= " : "") + grouped(*sequences);
}

std::string PlannedEvaluations::share_text() const {
  if (!share) return "?";
  char text[32];
  std::snprintf(text, sizeof text, "%s%.3g %%", at_most ? "<= " : "", 100 * *share);
  return text;
}

nlohmann::ordered_json PlannedEvaluations::as_json() const {
  nlohmann::ordered_json j = {
      {"number", number}, {"sequences", nullptr}, {"at_most", at_most}, {"share_of_flops", nullptr}};
  if (sequences) j["sequences"] = *sequences;
  if (share) j["share_of_flops"] = *share;
  return j;
}

}  // namespace saslm
