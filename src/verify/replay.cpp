#include "verify/replay.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "checkpoint/run_lock.h"
#include "config/foreign_model.h"
#include "core/error.h"
#include "core/file.h"

namespace saslm {
namespace {

using nlohmann::json;

namespace fs = std::filesystem;

// Counts steps, and asks for the end when the last of them is done.
struct UntilStep : TrainObserver {
  explicit UntilStep(int64_t from) : done(from) {}
  void step(const StepRecord& record) override { done = record.step + 1; }
  int64_t done;
};

// A folder with the replay's own run in it, which goes away again. One that a killed replay left is used
// anew.
class WorkDir {
 public:
  explicit WorkDir(const std::string& path) : path_(path), lock_(of_a_replay(path)) {
    remove_tree(run());
    make_dirs(run() + "/checkpoints");
  }
  ~WorkDir() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  WorkDir(const WorkDir&) = delete;
  WorkDir& operator=(const WorkDir&) = delete;

  std::string run() const { return path_ + "/run"; }

  // The files by another name; where the file system cannot do that, copies. Either way they stay when the
  // run prunes its own.
  void bring(const std::string& checkpoint) const {
    const fs::path to = fs::path(run()) / "checkpoints" / fs::path(checkpoint).filename();
    fs::create_directory(to);
    for (const auto& entry : fs::directory_iterator(checkpoint)) {
      std::error_code cannot;
      fs::create_hard_link(entry.path(), to / entry.path().filename(), cannot);
      if (cannot) fs::copy_file(entry.path(), to / entry.path().filename());
    }
  }

 private:
  static const std::string& of_a_replay(const std::string& path) {
    for (const std::string& name : list_dir(path))
      if (name != ".lock" && name != "run")
        throw ConfigError(path + " holds " + name +
                          ", so it is not a replay's: remove it, or give another --work-dir");
    return path;
  }

  std::string path_;
  RunLock lock_;
};

// The valid checkpoint of that step, or the newest one before `before`; what was passed over is added to
// `skipped`.
std::optional<Checkpoint> find(const std::string& dir, std::optional<int64_t> step, int64_t before,
                               std::vector<std::string>& skipped) {
  auto entries = list_checkpoints(dir);
  for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
    if (step ? entry->step != *step : entry->step >= before) continue;
    try {
      return verify_checkpoint(entry->path);
    } catch (const UserError& e) {
      if (step) throw;
      skipped.push_back(entry->path + ": " + e.what());
    }
  }
  return {};
}

// Where the run went on with other settings, between the two steps.
std::vector<std::string> changes_between(const std::string& run, int64_t from, int64_t to) {
  std::vector<std::string> lines;
  const std::string path = run + "/metrics.jsonl", text = path_exists(path) ? read_file(path, kAnySize) : "";
  for (size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1) {
    const json event = json::parse(text.begin() + long(at), text.begin() + long(end), nullptr, false);
    if (!event.is_object() || event.value("event", json()) != "start") continue;
    const json step = event.value("resumed_from_step", json()), changed = event.value("changed", json());
    if (!step.is_number_integer() || step <= from || step >= to || !changed.is_array()) continue;
    for (const json& line : changed)
      if (line.is_string()) lines.push_back("step " + step.dump() + ": " + line.get<std::string>());
  }
  return lines;
}

std::string list(const std::vector<std::string>& skipped) {
  std::string text;
  for (const std::string& line : skipped) text += "; damaged: " + line;
  return text;
}

}  // namespace

ReplayPlan plan_replay(const ReplayOptions& options, const std::vector<std::string>& overrides) {
  refuse_foreign_model(options.run_dir);
  const std::string dir = options.run_dir + "/checkpoints";
  std::vector<std::string> skipped;
  const auto to = find(dir, options.to, std::numeric_limits<int64_t>::max(), skipped);
  if (!to)
    throw CheckpointError(dir + ": wanted a valid checkpoint" +
                          (options.to ? " of step " + std::to_string(*options.to) : "") + ", there is none" +
                          list(skipped));
  const RunState state = run_state_from_json(to->state_json(), to->path());
  ReplayPlan plan{.to = to->step(),
                  .to_path = to->path(),
                  .computed_by = state.computed_by,
                  .tokenizer = {state.tokenizer.name, state.tokenizer.fingerprint, to->carried()}};
  if (options.from != 0) {
    const auto from = find(dir, options.from, to->step(), skipped);
    if (!from || from->step() >= to->step())
      throw CheckpointError(dir + ": wanted a valid checkpoint " +
                            (options.from ? "of step " + std::to_string(*options.from) + ", " : "") +
                            "before step " + std::to_string(to->step()) +
                            ", there is none; --from 0 replays from the beginning" + list(skipped));
    plan.from = from->step(), plan.from_path = from->path();
  } else {
    plan.init_from = weights_of(state.origin, options.init_from);
  }
  plan.skipped = std::move(skipped);
  plan.changes = changes_between(options.run_dir, plan.from, plan.to);
  std::vector<std::string> settings = overrides;
  for (const char* setting :
       {"data.val=\"\"", "data.tokenizer=\"\"", "eval.every_steps=0", "checkpoint.every_steps=0"})
    settings.push_back(setting);
  plan.config = load_config(plan.to_path + "/config.json", settings);
  return plan;
}

template <class T>
StateDifference replay(const ReplayOptions& options, const ReplayPlan& plan, const Ops<T>& ops) {
  const WorkDir work(options.work_dir);
  if (!plan.from_path.empty()) work.bring(plan.from_path);
  UntilStep until(plan.from);
  Trainer<T> trainer(plan.config,
                     {.run_dir = work.run(),
                      .resume = plan.from_path.empty() ? ResumeMode::automatic : ResumeMode::must,
                      .init_from = plan.init_from,
                      .tokenizer = plan.from_path.empty() ? std::optional(plan.tokenizer) : std::nullopt,
                      .stop = [&] { return until.done >= plan.to; }},
                     ops, until);
  trainer.run();
  std::vector<std::string> none;
  const auto saved = find(work.run() + "/checkpoints", plan.to, 0, none);
  if (!saved)
    throw CheckpointError("the replay ended at step " + std::to_string(until.done) + ", before step " +
                          std::to_string(plan.to) + ", which " + plan.to_path + " was saved at");
  StateDifference difference = diff(saved->path(), plan.to_path);
  diff_metrics(work.run(), options.run_dir, plan.from, plan.to, difference);
  return difference;
}

template StateDifference replay(const ReplayOptions&, const ReplayPlan&, const Ops<float>&);
template StateDifference replay(const ReplayOptions&, const ReplayPlan&, const Ops<bf16>&);

}  // namespace saslm
