// Runs the training: restores, steps, evaluates and saves until the last step or a stop. It uses every other
// folder of src/ and prints nothing.
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
  std::optional<TokenizerCopy> tokenizer = {};  // the original's, for a run that is repeated (verify)
  double max_minutes = 0;                       // stop and save after this long; 0 = no limit
  std::function<bool()> stop;                   // called after every step; true: save and return
  int local_ranks = 1;              // ranks on this machine, this one included; they divide its memory
  NameKernels name_kernels = {};    // names the kernels in the log, on a GPU; absent: they are not logged
  CheckKernels check_kernels = {};  // run before memory is taken if runtime.selfcheck is on; absent: no check
};

enum class TrainEnd { finished, stopped };

template <class T>
class Trainer {
 public:
  // Checks config, data, directory and checkpoint, allocates, and restores: whatever can be refused is
  // refused here, before any training. Errors as in core/error.h.
  //
  // Every rank makes a Trainer; only rank 0 touches the directory and calls the observer with records. Ranks
  // that were started differently are refused: ConfigError on rank 0, PeerError on the others.
  Trainer(const Config& config, const TrainOptions& options, const Ops<T>& ops, TrainObserver& observer,
          const Communicator& comm = single_rank(), const OptimizerMaker<T>& optimizer = make_optimizer<T>);

  // Trains to the last step, or until a stop is requested; the state is saved in both cases. DivergedError
  // after train.max_bad_steps bad steps in a row, with a checkpoint of the last good weights.
  TrainEnd run();

  const RunState& state() const { return state_; }
  std::optional<double> last_val_loss() const { return last_val_loss_; }

 private:
  // Checks that all ranks were started alike. Returns the directory's lock on rank 0, null on the others.
  std::unique_ptr<RunLock> agree_and_lock(const Ops<T>& ops) const;
  void restore();
  void follow_first();  // restore() on ranks other than 0: from what rank 0 restored from
  void start_anew(const std::string& init_from);
  void resume_from(const Checkpoint& checkpoint);
  void take_tokenizer(const TokenizerCopy& carried, const std::string& where);  // as run_tokenizer
  void log_start();
  void train_step();
  void compute_gradients(StepRecord& record);  // fills in losses and grad_norm
  bool run_evaluation();                       // false: stopped before its end
  void save();
  void save_for_good();  // returns when the present state is on disk
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
  std::string products_;                        // timed matrix products, the same on all ranks
  std::unique_ptr<Tokenizer> tokenizer_;        // null if it is not available
  std::map<std::string, std::string> carried_;  // its files, stored in every checkpoint
  std::vector<std::string> changes_;            // since the checkpoint that was resumed
  int64_t evaluated_at_ = -1;                   // step of the last evaluation
  int64_t saved_at_ = -1;                       // step of the last save, which may not have ended
  int64_t resumed_at_ = -1;                     // step of the checkpoint; -1: a new run
  bool other_evaluations_ = false;              // evaluations read other sequences than the checkpoint's did
  std::optional<double> last_val_loss_;
  double started_at_s_ = 0;  // monotonic
  Peak peak_;
  std::optional<Saver> saver_;  // the last member: its destructor waits for the save that is being written
};

}  // namespace saslm
