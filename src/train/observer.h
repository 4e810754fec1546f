#pragma once
#include <string>

#include "metrics/metrics_log.h"
#include "train/eval_schedule.h"

namespace saslm {

struct EvalProgress {
  int64_t step = 0;                 // updates done
  int64_t done = 0, sequences = 0;  // of how many; done is 0 when it begins
};

// What a run tells whoever watches. All optional to override.
class TrainObserver {
 public:
  virtual ~TrainObserver() = default;
  virtual void note(const std::string& /*line*/) {}     // worth a line in the log
  virtual void warning(const std::string& /*line*/) {}  // worth the user's attention
  virtual void step(const StepRecord&) {}
  virtual void schedule(const EvalSchedule&) {}  // before everything else but notes and warnings
  virtual void evaluating(const EvalProgress&) {}
  virtual void eval(const EvalRecord&) {}
  virtual void checkpoint(const CheckpointRecord&) {}
};

}  // namespace saslm
