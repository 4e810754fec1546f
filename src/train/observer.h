#pragma once
#include <string>

#include "metrics/metrics_log.h"

namespace saslm {

// What a run tells whoever watches. All optional to override.
class TrainObserver {
 public:
  virtual ~TrainObserver() = default;
  virtual void note(const std::string& /*line*/) {}     // worth a line in the log
  virtual void warning(const std::string& /*line*/) {}  // worth the user's attention
  virtual void step(const StepRecord&) {}
  virtual void eval(const EvalRecord&) {}
  virtual void checkpoint(const CheckpointRecord&) {}
};

}  // namespace saslm
