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
  void schedule(const EvalSchedule& schedule) override { evaluations_ = schedule; }
  void step(const StepRecord& record) override;
  void evaluating(const EvalProgress& progress) override;
  void eval(const EvalRecord& record) override;
  void checkpoint(const CheckpointRecord& record) override;

  // The same line outside of training: `what` is evaluated.
  void evaluating(const std::string& what, int64_t done, int64_t sequences);
  void clear_live_line();

 private:
  using Clock = std::chrono::steady_clock;

  // So long after the last line, and after `since`, that one is due; it then counts as shown.
  bool line_is_due(Clock::time_point since = {});
  void show(const std::string& line);  // live on a terminal, else one more line
  std::optional<double> eta_s() const;

  bool terminal_, live_ = false;
  Progress progress_;
  StepTimer timer_;
  EvalSchedule evaluations_;
  std::optional<double> eval_s_;  // what the last evaluation took
  Clock::time_point last_line_{}, eval_began_{};
};

// A line from wherever there is no console at hand.
void note_aside(const std::string& line);

// Which newer checkpoints are damaged, and why.
void warn_of_skipped(const SavedModel& model);

}  // namespace saslm
