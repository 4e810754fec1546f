// The run: restore, step, evaluate, save, until the last step or a stop. It knows every room; it prints
// nothing.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "checkpoint/checkpoint.h"
#include "checkpoint/run_lock.h"
#include "data/eval_sample.h"
#include "data/prefetch.h"
#include "data/text_tokenizer.h"
#include "metrics/metrics_log.h"
#include "train/agree_ranks.h"
#include "train/engine.h"
#include "train/gpu_peak.h"
#include "train/kernel_check.h"
#include "train/kernel_paths.h"
#include "train/observer.h"
#include "train/plan.h"
#include "train/resume.h"
#include "train/run_state.h"
#include "train/run_tokenizer.h"
#include "train/saver.h"

namespace saslm {

struct TrainOptions {
  std::string run_dir;
  ResumeMode resume = ResumeMode::automatic;
  std::string init_from;  // weights to start from, as find_saved_model takes them; "" = the config's seed
  std::optional<TokenizerCopy> tokenizer = {};  // of a run that is done once more: its own; else left out
  double max_minutes = 0;                       // stop and save after this long; 0 = no limit
  std::function<bool()> stop;                   // asked after every step: save and return?
  int local_ranks = 1;              // on this machine, this one among them: they divide its memory
  NameKernels name_kernels = {};    // asked on a GPU, for the record; absent: not recorded
  CheckKernels check_kernels = {};  // asked before memory is taken, if runtime.selfcheck is; absent: not
};

enum class TrainEnd { finished, stopped };

template <class T>
class Trainer {
 public:
  // With several ranks every one makes its own; the first alone touches the directory and has something to
  // say. Ranks that were given different things to do are refused: ConfigError, on all but the first
  // PeerError.
  //
  // Checks config, data, directory and checkpoint, allocates, restores: everything that can be refused is
  // refused here, before any training. Errors as in core/error.h.
  Trainer(const Config& config, const TrainOptions& options, const Ops<T>& ops, TrainObserver& observer,
          const Communicator& comm = single_rank(), const OptimizerMaker<T>& optimizer = make_optimizer<T>);

  // Runs to the last step, or until told to stop; either way the state is saved. DivergedError after too many
  // bad steps in a row, with a checkpoint of the last good weights.
  TrainEnd run();

  const RunState& state() const { return state_; }
  std::optional<double> last_val_loss() const { return last_val_loss_; }

 private:
  // That all ranks are about to do the same; the first rank's.
  std::unique_ptr<RunLock> agree_and_lock(const Ops<T>& ops) const;
  void restore();
  void follow_first();  // the others' restore
  void start_anew(const std::string& init_from);
  void resume_from(const Checkpoint& checkpoint);
  void take_tokenizer(const TokenizerCopy& carried, const std::string& where);  // as run_tokenizer
  void log_start();
  void train_step();
  void compute_gradients(StepRecord& record);  // fills in losses and grad_norm
  bool run_evaluation();                       // false: told to stop on the way
  void save();
  void save_for_good();  // the state as it is now, before this returns
  void share_products() { products_ = saslm::share_products(comm_, config_, engine_, products_); }
  // Whether a rank wants the run to stop. Asks all ranks, so it also ends a save that ended on one of them,
  // and starts one that one of them wants.
  bool stop_agreed();
  bool eval_due() const { return evaluated_at_ != state_.step && evaluation_due(evaluations_, state_.step); }
  bool checkpoint_due() const;

  const Communicator& comm_;
  Config config_;
  TrainOptions options_;
  TrainObserver& observer_;
  Plan plan_;
  TokenSet train_set_;
  std::optional<TokenSet> val_set_;
  EvalSample eval_sample_;  // of val_set_
  EvalSchedule evaluations_;
  std::unique_ptr<RunLock> lock_;  // the first rank's; after the data, so a refused run leaves no directory
  BatchLoader loader_;
  BatchPrefetch batches_;                // of loader_
  std::unique_ptr<MetricsLog> metrics_;  // the first rank's
  KernelVerdict verdict_;
  Engine<T> engine_;
  BadStepDetector detector_;

  RunState state_;
  std::string products_;                        // the table of timed products that all ranks have
  std::unique_ptr<Tokenizer> tokenizer_;        // null where it is not to be had
  std::map<std::string, std::string> carried_;  // its files, in every checkpoint
  std::vector<std::string> changes_;            // since the checkpoint it went on from
  int64_t evaluated_at_ = -1, saved_at_ = -1;   // steps; saved: or on its way to be
  int64_t resumed_at_ = -1;                     // likewise; -1: not
  bool other_evaluations_ = false;  // than the checkpoint's: of other data or other sequences of it
  std::optional<double> last_val_loss_;
  double started_at_s_ = 0;  // monotonic
  Peak peak_;
  std::optional<Saver> saver_;  // last, so that it goes first, and waits for what it is writing
};

}  // namespace saslm
