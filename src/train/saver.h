// Writes checkpoints while training continues. Every rank has a Saver, since all must know when a save has
// ended; rank 0's writes, in its own thread: it syncs the metrics, saves, and prunes. A checkpoint with which
// a run ended before it was extended is not pruned. A pruned checkpoint is logged before it is removed.
//
// A failed save leaves older checkpoints as they were. It causes a warning, training continues, and the save
// is retried a minute later or when the next one is due. The third failure in a row ends the run with its
// IoError.
#pragma once
#include <future>
#include <map>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "checkpoint/run_lock.h"
#include "comm/communicator.h"
#include "config/config.h"
#include "train/model_state.h"
#include "train/observer.h"

namespace saslm {

// The content of a checkpoint. The tensors' memory must not change until the save has ended.
struct Snapshot {
  int64_t step = 0;
  StateTensors tensors = {};
  std::string state_json, config_json;
};

struct SaverOptions {
  std::string dir;  // the run's folder of checkpoints
  CheckpointConfig config;
  std::map<std::string, std::string> carried = {};  // files for every checkpoint: CheckpointContent::carried
  // Rank 0's, which outlive the saver; null on other ranks. No checkpoint is saved without the lock.
  RunLock* lock = nullptr;
  MetricsLog* metrics = nullptr;
};

class Saver {
 public:
  Saver(const Communicator& comm, TrainObserver& observer, SaverOptions options);

  // All ranks call these. begin: starts a save, after the previous one has ended; stall_ms is the time that
  // the snapshot took. end: waits for the save that is under way and handles its result. has: whether the
  // state of that step is saved.
  void begin(Snapshot snapshot, double stall_ms);
  void end();
  bool has(int64_t step) const;
  void found(int64_t step) { step_ = step; }  // records that an earlier start saved this step

  // What this rank tells the others after a step. ended: a save has ended, and all ranks call end(). wanted:
  // a failed save should be retried, and all ranks call begin().
  struct News {
    bool ended = false, wanted = false;
  };
  News news() const;

 private:
  CheckpointRecord write(const Snapshot& snapshot) const;
  void record();

  const Communicator& comm_;
  TrainObserver& observer_;
  SaverOptions options_;
  bool under_way_ = false;
  int64_t step_ = -1;  // step of the last save that was begun
  double stall_ms_ = 0;
  // Used on rank 0 only.
  int failed_ = 0;  // in a row
  double try_again_at_s_ = 0;
  Snapshot snapshot_;  // declared before writing_, whose destructor waits for the thread that reads it
  std::future<CheckpointRecord> writing_;
};

}  // namespace saslm
