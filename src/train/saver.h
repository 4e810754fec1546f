// Checkpoints written beside training: the trainer hands over a snapshot, and a thread of its own syncs the
// metrics, writes, and prunes.
#pragma once
#include <chrono>
#include <future>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "config/config.h"
#include "metrics/metrics_log.h"

namespace saslm {

// All that a checkpoint is made of. The tensors' memory must stay as it is until the save has ended.
struct Snapshot {
  int64_t step = 0;
  std::vector<ConstNamedTensor> model, optimizer;
  std::string state_json, config_json;
};

class Saver {
 public:
  // `metrics` must outlive the saver.
  Saver(std::string checkpoints_dir, const CheckpointConfig& config, MetricsLog& metrics)
      : dir_(std::move(checkpoints_dir)), config_(config), metrics_(metrics) {}

  // Begins to write; the save before it has been asked for its result. (A Saver that goes waits for its
  // thread.)
  void start(Snapshot snapshot);
  bool busy() const { return writing_.valid(); }
  bool done_within(std::chrono::milliseconds limit) const {
    return writing_.wait_for(limit) == std::future_status::ready;
  }
  // Waits for the end. IoError when the checkpoint could not be saved: then nothing new is there, and what
  // was there before still is.
  CheckpointRecord result() { return writing_.get(); }

 private:
  CheckpointRecord write(const Snapshot& snapshot) const;

  std::string dir_;
  CheckpointConfig config_;
  MetricsLog& metrics_;
  std::future<CheckpointRecord> writing_;
};

}  // namespace saslm
