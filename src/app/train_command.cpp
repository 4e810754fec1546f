#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "app/command.h"
#include "app/console.h"
#include "app/device.h"
#include "app/launch_ranks.h"
#include "app/options.h"
#include "app/print_json.h"
#include "app/stop_signal.h"
#include "bench/kernel_paths.h"
#include "check/selfcheck.h"
#include "comm/host_ranks.h"
#include "train/trainer.h"

namespace saslm {
namespace {

struct TrainArguments {
  std::string config, run_dir, resume = "auto", init_from, device;
  std::vector<std::string> set;
  double max_minutes = 0;
  int64_t ranks = 0, gpus = 0;  // 0: the launcher's
  bool json = false;
};

ResumeMode resume_mode(const std::string& word) {
  if (word == "must") return ResumeMode::must;
  if (word == "never") return ResumeMode::never;
  return ResumeMode::automatic;
}

std::string on_ranks(const Communicator& comm) {
  return comm.size() > 1 ? ", on each of " + std::to_string(comm.size()) + " ranks" : "";
}

// Queued GPU work must not wait for other ranks when the trainer and its queues are destroyed.
template <class T>
TrainEnd run_or_abandon(Trainer<T>& trainer, const Communicator& comm) {
  try {
    return trainer.run();
  } catch (const std::exception& error) {
    comm.abandon(error);
    throw;
  }
}

int train(const TrainArguments& o) {
  std::vector<std::string> overrides = o.set;
  if (o.gpus > 0 && o.device == "cpu") throw ConfigError("--gpus and --device cpu contradict each other");
  const std::string device_name = o.gpus > 0 ? "cuda" : o.device;
  if (!device_name.empty()) overrides.push_back("runtime.device=\"" + device_name + "\"");
  LaunchedAs launched = launched_as();
  const int64_t ranks = std::max(o.ranks, o.gpus);
  if (ranks > 1 && !launched.launched) {  // so that errors are printed once
    load_config(o.config, overrides, ranks);
    if (o.gpus > 0) gpu_for({.local_size = int(ranks)});
    return launch_ranks(int(ranks));
  }
  if (ranks > 0) check_not_launched_twice(launched, ranks, o.gpus > 0 ? "--gpus" : "--ranks");
  watch_stop_signals();
  const Config config = load_config(o.config, overrides, launched.size);
  launched.shared_dir =
      o.run_dir.empty() ? "runs/" + std::filesystem::path(o.config).stem().string() : o.run_dir;
  std::unique_ptr<HostRanks> host = join_ranks(launched, config.runtime.comm_timeout_s, waiting_of(launched));
  if (!host && o.gpus > 0) host = room_of_one(config.runtime.comm_timeout_s);
  const Device device = choose_device(config.runtime, launched);
  const std::unique_ptr<Communicator> joined = host ? join_devices(std::move(host), device) : nullptr;
  const Communicator& comm = joined ? *joined : single_rank();

  TrainOptions options;
  options.run_dir = launched.shared_dir;
  if (const auto above = std::filesystem::absolute(options.run_dir).lexically_normal().parent_path();
      path_exists(above.parent_path() / "comparison.json"))
    throw ConfigError(options.run_dir +
                      " belongs to a comparison and is trained by it; choose another --run-dir");
  options.resume = resume_mode(o.resume);
  options.init_from = o.init_from;
  options.max_minutes = o.max_minutes;
  options.stop = stop_requested;
  options.local_ranks = launched.local_size;

  nlohmann::ordered_json summary;
  const TrainEnd end = on_device(device, [&]<class T>(const Ops<T>& ops) {
    options.name_kernels = kernel_paths<T>;
    if (device.gpu) options.check_kernels = [&](const Config& c) { return selfcheck(c, ops); };
    Console console(config.train.steps);
    TrainObserver silent;
    if (comm.first()) console.note("device: " + device.description + on_ranks(comm));
    Trainer trainer(config, options, ops, comm.first() ? console : silent, comm);
    const int64_t before = trainer.state().step;
    const bool evaluated_before = trainer.last_val_loss().has_value();
    const TrainEnd how = run_or_abandon(trainer, comm);
    summary = {{"run_dir", options.run_dir},
               {"finished", how == TrainEnd::finished},
               {"step", trainer.state().step},
               {"tokens", trainer.state().tokens},
               {"val_loss", nullptr}};
    if (trainer.last_val_loss()) summary["val_loss"] = *trainer.last_val_loss();
    if (comm.first())
      console.note(how == TrainEnd::stopped
                       ? "stopped and saved; the same command continues: " + options.run_dir
                   : before >= config.train.steps && evaluated_before == trainer.last_val_loss().has_value()
                       ? "nothing to do: " + options.run_dir + " is at step " + std::to_string(before) +
                             " of train.steps " + std::to_string(config.train.steps)
                       : "finished: " + options.run_dir);
    return how;
  });
  if (o.json && comm.first()) print_json(summary);
  gather_numbers(comm, {}, "end of the run");  // the last thing with a time limit
  if (!comm.first()) return kDone;             // launchers end all ranks if one ends with another code
  return end == TrainEnd::finished ? kDone : kStoppedToResume;
}

}  // namespace

void add_train_command(CLI::App& app, RunCommand& run) {
  auto o = std::make_shared<TrainArguments>();
  CLI::App* sub = app.add_subcommand(
      "train",
      "Train a model, or continue an interrupted run\n\n"
      "Metrics and checkpoints go to the run directory. Ctrl-C saves a checkpoint and exits 75. The same "
      "command continues the run, and the result is bit-identical to an uninterrupted run.");
  sub->group("Train and compare");
  sub->add_option("CONFIG", o->config, "JSON file of the run")->type_name("FILE")->required();
  sub->add_option("--run-dir", o->run_dir, "Run directory, for metrics and checkpoints")
      ->check(folder())
      ->default_str("runs/NAME-OF-CONFIG");
  sub->add_option("--resume", o->resume,
                  "auto: continue from the newest valid checkpoint, if any; must: exit 2 without a "
                  "checkpoint; never: exit 2 with one")
      ->check(CLI::IsMember({"auto", "must", "never"}))
      ->capture_default_str();
  sub->add_option(
         "--init-from", o->init_from,
         "Weights to start from: a checkpoint, a run directory (its newest checkpoint), or a folder with "
         "model.safetensors and config.json")
      ->check(folder());
  add_set_option(*sub, o->set);
  add_device_option(*sub, o->device);
  CLI::Option* ranks =
      sub->add_option("--ranks", o->ranks,
                      "Number of processes on this machine that share each step; a power of two")
          ->check(integer_in(1, 1024))
          ->default_str("1");
  sub->add_option("--gpus", o->gpus, "Like --ranks, with a GPU for each process")
      ->check(integer_in(1, 1024))
      ->excludes(ranks);
  sub->add_option("--max-minutes", o->max_minutes, "Save and exit 75 after this time; 0 for no limit")
      ->check(number_from(0))
      ->type_name("MINUTES")
      ->default_str("0");
  add_json_flag(*sub, o->json);
  sub->footer(
      "Examples:\n"
      "  saslm train my.json\n"
      "  saslm train my.json --run-dir runs/second --set train.seed=2\n"
      "  saslm train my.json --run-dir runs/pair --ranks 2\n"
      "\n"
      "See also: saslm help config, saslm help run, saslm help resume, saslm help ranks\n");
  sub->callback([o, &run] { run = [o] { return train(*o); }; });
}

}  // namespace saslm
