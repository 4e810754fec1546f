#include "train/resume.h"

#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"

namespace saslm {
namespace {

// A checkpoint that could not be read may be readable next time. By then the record of the steps before it is
// cut to the older one that the run goes on from, so it must not be found again.
void set_aside(const std::string& checkpoint) {
  const std::filesystem::path path = checkpoint;
  std::string aside = path.parent_path() / ("skipped_" + path.filename().string());
  while (path_exists(aside)) aside += "_again";
  rename_path(checkpoint, aside);
}

// The run was killed after the checkpoint got its name and before that was on record. How long it took nobody
// knows.
void log_lost(const Checkpoint& checkpoint, MetricsLog& metrics) {
  constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
  metrics.log_checkpoint({.step = checkpoint.step(),
                          .path = checkpoint.path(),
                          .bytes = checkpoint.bytes(),
                          .save_ms = kUnknown,
                          .stall_ms = kUnknown,
                          .state_hash = state_hash(checkpoint.files())});
}

}  // namespace

std::string checkpoints_dir(const std::string& run_dir) {
  return run_dir + "/checkpoints";
}

std::optional<Checkpoint> find_checkpoint(const std::string& run_dir, ResumeMode mode,
                                          TrainObserver& observer) {
  const std::string dir = checkpoints_dir(run_dir);
  const bool any = !list_checkpoints(dir).empty();
  if (any && mode == ResumeMode::never)
    throw ConfigError(run_dir + " already holds checkpoints of a run; --resume never would lose them: " +
                      "use --resume auto to go on with it, or another --run-dir");
  for (const std::string& path : remove_stale(dir)) observer.note("removed what a killed save left: " + path);
  std::vector<std::string> skipped_paths;
  const auto skipped = [&](const std::string& path, const std::string& reason) {
    skipped_paths.push_back(path);
    observer.warning("skipped checkpoint " + path + ": " + reason);
  };
  std::optional<Checkpoint> found = find_newest_valid(dir, skipped);
  if (!found && mode == ResumeMode::must)
    throw CheckpointError(dir + ": --resume must, but there is no valid checkpoint" +
                          (any ? " (all are damaged)" : "") + "; --resume auto starts a new run");
  if (!found && any)
    throw CheckpointError(dir +
                          ": every checkpoint is damaged (see the warnings); nothing was changed. Move the "
                          "folder away to start the run anew");
  for (const std::string& path : skipped_paths) set_aside(path);
  return found;
}

void tell_changes(const Checkpoint& checkpoint, const RunState& saved, const RunState& now,
                  const std::string& init_from, std::vector<std::string>& changes, TrainObserver& observer) {
  if (!is_of(saved.origin, init_from))
    observer.warning("--init-from " + init_from +
                     " is not taken: the run goes on from its checkpoint, and "
                     "began with " +
                     describe(saved.origin));
  if (saved.train_fingerprint != now.train_fingerprint)
    throw DataError(checkpoint.path() + " was trained on other data than data.train now names (fingerprint " +
                    saved.train_fingerprint + ", now " + now.train_fingerprint +
                    "); give it the same shards in the same order, or start another run");
  for (const std::string& line : other_arithmetic(saved.computed_by, now.computed_by))
    changes.push_back(line + "; the arithmetic, and with it the last bits, changes from here");
  for (const std::string& line : changes) observer.warning("changed since the checkpoint: " + line);
  for (const std::string& line : other_build(saved.computed_by, now.computed_by))
    observer.note(line + "; the same bits are promised for the same build, driver and CUDA only");
}

bool other_evaluations(const Checkpoint& checkpoint, const RunState& saved, const RunState& now,
                       const EvalSample& sample, TrainObserver& observer) {
  const bool other_data = saved.val_fingerprint != now.val_fingerprint;
  // A checkpoint from before samples were spread read the first ones: the same where both are all.
  const auto config = nlohmann::json::parse(checkpoint.config_json());
  const auto most = config.value(nlohmann::json::json_pointer("/eval/max_sequences"), int64_t(0));
  const bool all_then = saved.eval_sample.empty() && (most == 0 || most >= sample.of());
  const bool all_now = sample.sequences() == sample.of();
  const bool same_sample = saved.eval_sample == now.eval_sample || (all_then && all_now);
  if (other_data)
    observer.warning(
        "data.val is not what it was when the checkpoint was saved: validation losses before and "
        "after cannot be compared");
  else if (!same_sample)
    observer.warning(
        "evaluations read other sequences of data.val than before the checkpoint: validation losses before "
        "and after cannot be compared");
  return other_data || !same_sample;
}

void complete_record(const ResumeReport& report, const Checkpoint& checkpoint, int64_t step,
                     MetricsLog& metrics, TrainObserver& observer) {
  if (!report.missing.empty()) {
    observer.warning(
        "metrics.jsonl is older than " + checkpoint.path() + ", or was damaged: it has no record of " +
        "the steps " + to_text(report.missing) +
        ". They were trained and are in the weights; the record keeps this hole. If a whole copy of "
        "metrics.jsonl is somewhere, stop, put it here, and start again");
    metrics.log_missing(report.missing);
  }
  if (report.repeated > 0)
    observer.warning("metrics.jsonl has " + std::to_string(report.repeated) +
                     " steps on record twice: it was put together from more than one run");
  const std::string hash = state_hash(checkpoint.files());
  if (report.last_checkpoint_step == step && !report.last_state_hash.empty() &&
      report.last_state_hash != hash) {
    observer.warning("metrics.jsonl says that the state of step " + std::to_string(step) + " has the hash " +
                     report.last_state_hash + ", " + checkpoint.path() + " has " + hash +
                     ": they are of two runs");
    metrics.log("other_state", {{"step", step}, {"on_record", report.last_state_hash}, {"state_hash", hash}});
  }
  if (report.last_checkpoint_step != step) log_lost(checkpoint, metrics);
}

}  // namespace saslm
