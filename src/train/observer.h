// Receives the events of a run: the app prints them, tests record them.
#pragma once
#include <string>

#include "metrics/metrics_log.h"
#include "train/eval_schedule.h"

namespace saslm {

struct EvalProgress {
  int64_t step = 0;                 // training steps done
  int64_t done = 0, sequences = 0;  // sequences evaluated, of how many; done is 0 at the beginning
};

// Every method may be left as it is.
class TrainObserver {
 public:
  virtual ~TrainObserver() = default;
  virtual void note(const std::string& /*line*/) {}     // a line for the log
  virtual void warning(const std::string& /*line*/) {}  // something that the user should act on
  virtual void step(const StepRecord&) {}
  virtual void schedule(const EvalSchedule&) {}  // called before all others except note and warning
  virtual void evaluating(const EvalProgress&) {}
  virtual void eval(const EvalRecord&) {}
  virtual void checkpoint(const CheckpointRecord&) {}
};

}  // namespace saslm
