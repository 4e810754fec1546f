// What a person sees while training: log lines and, on a terminal, one live line. All on stderr.
#pragma once
#include <chrono>

#include "metrics/progress.h"
#include "train/saved_model.h"
#include "train/trainer.h"

namespace saslm {

class Console : public TrainObserver {
 public:
  explicit Console(int64_t steps);
  ~Console() override;  // ends the live line

  void note(const std::string& line) override;
  void warning(const std::string& line) override;
  void step(const StepRecord& record) override;
  void eval(const EvalRecord& record) override;
  void checkpoint(const CheckpointRecord& record) override;

 private:
  void clear_live_line();

  bool terminal_, live_ = false;
  Progress progress_;
  StepTimer timer_;
  std::chrono::steady_clock::time_point last_line_{};
};

// A line from wherever there is no console at hand.
void note_aside(const std::string& line);

// Which newer checkpoints are damaged, and why.
void warn_of_skipped(const SavedModel& model);

}  // namespace saslm
