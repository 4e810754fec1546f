#include "train/saver.h"

#include <chrono>
#include <nlohmann/json.hpp>

#include "checkpoint/manifest.h"
#include "core/error.h"
#include "core/file.h"
#include "train/now_s.h"

namespace saslm {
namespace {

constexpr int kMostFailures = 3;  // in a row
constexpr double kTryAgainAfter_s = 60;
constexpr auto kTellOthersEvery = std::chrono::milliseconds(500);

// By its own config a run ended there: it was to have no more steps than these.
bool ended_a_run(const CheckpointEntry& entry) {
  const std::string path = entry.path + "/" + kConfigFile;
  if (!path_exists(path)) return false;
  const auto config = nlohmann::json::parse(read_file(path), nullptr, false);
  const auto key = nlohmann::json::json_pointer("/train/steps");
  return config.contains(key) && config[key].is_number_integer() && config[key] <= entry.step;
}

}  // namespace

Saver::Saver(const Communicator& comm, TrainObserver& observer, SaverOptions options)
    : comm_(comm), observer_(observer), options_(std::move(options)) {}

void Saver::begin(Snapshot snapshot, double stall_ms) {
  check(!under_way_, "one checkpoint is written at a time");
  step_ = snapshot.step;
  stall_ms_ = stall_ms;
  under_way_ = true;
  if (!comm_.first()) return;
  // A member, not a capture: std::async moves its function into the thread that it then fails to start, and
  // would run what is left of it here.
  snapshot_ = std::move(snapshot);
  writing_ = std::async(std::launch::async | std::launch::deferred, [this] { return write(snapshot_); });
  if (writing_.wait_for(std::chrono::seconds(0)) == std::future_status::deferred)
    writing_.wait();  // no thread could be started: here and now, then
}

// A long save must not look like a lost rank: all hear that it goes on.
void Saver::end() {
  if (!under_way_) return;
  const double begin_s = now_s();
  for (bool ended = false; !ended;) {
    const bool mine = comm_.first() && writing_.wait_for(kTellOthersEvery) == std::future_status::ready;
    ended = gather_numbers(comm_, {double(mine)}, "end of a save")[0] != 0;
  }
  under_way_ = false;
  stall_ms_ += (now_s() - begin_s) * 1e3;
  if (comm_.first()) record();
}

bool Saver::has(int64_t step) const {
  const bool mine = !under_way_ && step_ == step && failed_ == 0;
  return gather_numbers(comm_, {double(mine)}, "end of a save")[0] != 0;
}

Saver::News Saver::news() const {
  if (!comm_.first()) return {};
  return {.ended = under_way_ && writing_.wait_for(std::chrono::seconds(0)) == std::future_status::ready,
          .wanted = !under_way_ && failed_ > 0 && now_s() > try_again_at_s_};
}

void Saver::record() {
  try {
    CheckpointRecord record = writing_.get();
    record.stall_ms = stall_ms_;
    failed_ = 0;
    options_.metrics->log_checkpoint(record);
    observer_.checkpoint(record);
    if (!record.problem.empty()) observer_.warning(record.problem);
  } catch (const IoError& e) {
    if (++failed_ >= kMostFailures) throw;
    try_again_at_s_ = now_s() + kTryAgainAfter_s;
    observer_.warning("the checkpoint of step " + std::to_string(step_) + " could not be saved: " + e.what() +
                      "; older ones are as they were, training goes on and it is tried again");
  }
}

CheckpointRecord Saver::write(const Snapshot& s) const {
  const double begin_s = now_s();
  options_.lock->keep();
  options_.metrics->sync();  // before: a checkpoint never outlives the record of its steps
  const SavedCheckpoint saved = save_checkpoint(options_.dir, {.step = s.step,
                                                               .model = s.tensors.weights,
                                                               .optimizer = s.tensors.optimizer,
                                                               .state_json = s.state_json,
                                                               .config_json = s.config_json,
                                                               .carried = options_.carried});
  CheckpointRecord record{
      .step = s.step, .path = saved.path, .bytes = saved.bytes, .state_hash = saved.state_hash};
  const auto removing = [&](const CheckpointEntry& entry) {
    // Without a "step": a run that goes on from an earlier one has lost it all the same.
    options_.metrics->log("checkpoint_removed", {{"removed_step", entry.step}, {"path", entry.path}});
    record.removed.push_back(entry.path);
  };
  try {
    prune_checkpoints(options_.dir, {.keep_last = options_.config.keep_last,
                                     .keep_every = options_.config.keep_every,
                                     .keep = ended_a_run,
                                     .removing = removing});
  } catch (const IoError& e) {
    record.problem = std::string("older checkpoints could not be removed: ") + e.what();
  }
  record.save_ms = (now_s() - begin_s) * 1e3;
  return record;
}

}  // namespace saslm
