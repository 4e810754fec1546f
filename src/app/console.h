// Output during training: log lines and, on a terminal, one live line. All on stderr.
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
  void schedule(const EvalSchedule& schedule) override { evaluations_ = schedule; }
  void step(const StepRecord& record) override;
  void evaluating(const EvalProgress& progress) override;
  void eval(const EvalRecord& record) override;
  void checkpoint(const CheckpointRecord& record) override;

  // The live line while `what` is evaluated outside of training.
  void evaluating(const std::string& what, int64_t done, int64_t sequences);
  void clear_live_line();

 private:
  using Clock = std::chrono::steady_clock;

  // Whether enough time has passed since the last line, and since `since`; if so, the line counts as shown.
  bool line_is_due(Clock::time_point since = {});
  void show(const std::string& line);  // live on a terminal, else a new line
  std::optional<double> eta_s() const;

  bool terminal_, live_ = false;
  Progress progress_;
  StepTimer timer_;
  EvalSchedule evaluations_;
  std::optional<double> eval_s_;  // duration of the last evaluation
  Clock::time_point last_line_{}, eval_began_{};
};

// Prints a line without a console.
void note_aside(const std::string& line);

// Warns of newer checkpoints that are damaged, with the reason.
void warn_of_skipped(const SavedModel& model);

}  // namespace saslm
