// Checkpoints written beside training. All ranks have a saver, since all must know when a save has ended; the
// first rank's writes, in a thread of its own: it syncs the metrics, saves, and prunes. A checkpoint that a
// run ended with, before it was extended, is not pruned; each one that is goes on record before it goes.
//
// A save that fails leaves older checkpoints as they were: it is told, training goes on, and it is tried
// again a minute later or when the next is due. The third failure in a row ends the run, with its IoError.
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

// All that a checkpoint is made of. The tensors' memory must stay as it is until the save has ended.
struct Snapshot {
  int64_t step = 0;
  StateTensors tensors = {};
  std::string state_json, config_json;
};

struct SaverOptions {
  std::string dir;  // of the run's checkpoints
  CheckpointConfig config;
  std::map<std::string, std::string> carried = {};  // CheckpointContent::carried of every save
  // The first rank's, which outlive the saver; null on others. No checkpoint is saved without the lock.
  RunLock* lock = nullptr;
  MetricsLog* metrics = nullptr;
};

class Saver {
 public:
  Saver(const Communicator& comm, TrainObserver& observer, SaverOptions options);

  // By all ranks alike. begin: the save before it has ended. stall_ms: what the snapshot took. end: waits for
  // a save that is under way, and deals with its result. has: whether the state of that step is saved.
  void begin(Snapshot snapshot, double stall_ms);
  void end();
  bool has(int64_t step) const;
  void found(int64_t step) { step_ = step; }  // saved already, by an earlier run

  // What this rank has to tell the others after a step: a save has ended (all call end()); one that failed
  // should be tried again (all begin() one).
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
  int64_t step_ = -1;  // of the last one begun
  double stall_ms_ = 0;
  // The first rank's.
  int failed_ = 0;  // in a row
  double try_again_at_s_ = 0;
  Snapshot snapshot_;  // before writing_, whose end waits for the thread that reads it
  std::future<CheckpointRecord> writing_;
};

}  // namespace saslm
