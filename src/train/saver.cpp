#include "train/saver.h"

#include "core/error.h"

namespace saslm {

void Saver::start(Snapshot snapshot) {
  check(!busy(), "one checkpoint is written at a time");
  writing_ = std::async(std::launch::async, [this, s = std::move(snapshot)] { return write(s); });
}

CheckpointRecord Saver::write(const Snapshot& s) const {
  const auto begin = std::chrono::steady_clock::now();
  metrics_.sync();  // before: a checkpoint never outlives the record of its steps
  const SavedCheckpoint saved = save_checkpoint(dir_, {.step = s.step,
                                                       .model = s.model,
                                                       .optimizer = s.optimizer,
                                                       .state_json = s.state_json,
                                                       .config_json = s.config_json});
  CheckpointRecord record{.step = s.step, .path = saved.path, .state_hash = saved.state_hash};
  try {
    prune_checkpoints(dir_, config_.keep_last, config_.keep_every);
  } catch (const IoError& e) {
    record.problem = std::string("older checkpoints could not be removed: ") + e.what();
  }
  record.save_ms =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
  return record;
}

}  // namespace saslm
