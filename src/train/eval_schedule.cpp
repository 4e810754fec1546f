#include "train/eval_schedule.h"

namespace saslm {

EvalSchedule eval_schedule(const Config& config, int64_t sequences) {
  return {.steps = config.train.steps,
          .every = config.eval.every_steps,
          .sequences = sequences,
          .global_batch = config.train.global_batch};
}

bool evaluation_due(const EvalSchedule& schedule, int64_t step) {
  return schedule.sequences > 0 &&
         (step == 0 || step >= schedule.steps || (schedule.every > 0 && step % schedule.every == 0));
}

int64_t EvalSchedule::evaluations_from(int64_t step) const {
  if (sequences == 0) return 0;
  const int64_t last = 1, first = step <= 0 ? 1 : 0;
  if (step >= steps) return last;
  // Multiples of `every` in [max(step, 1), steps - 1].
  const int64_t begin = step > 1 ? step : 1;
  const int64_t between = every > 0 ? (steps - 1) / every - (begin - 1) / every : 0;
  return first + between + last;
}

double EvalSchedule::share() const {
  const double evaluations = double(evaluations_from(0)) * cost();
  return evaluations / (evaluations + double(steps));
}

}  // namespace saslm
