#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>

#include "app/command.h"
#include "app/console.h"
#include "app/device.h"
#include "app/options.h"
#include "app/plot_script.h"
#include "app/print_json.h"
#include "app/stop_signal.h"
#include "comm/communicator.h"
#include "core/error.h"
#include "train/compare.h"
#include "train/compare_report.h"

namespace saslm {
namespace {

struct Options {
  std::string config, run_dir;
  std::vector<std::string> set;
  bool json = false, report_only = false, no_plots = false;
};

// A run among many: its saves are not worth a line each.
class RunConsole : public Console {
 public:
  using Console::Console;
  void checkpoint(const CheckpointRecord&) override {}
};

class CompareConsole : public CompareObserver {
 public:
  void note(const std::string& line) override { console_.note(line); }
  void warning(const std::string& line) override { console_.warning(line); }
  std::unique_ptr<TrainObserver> watch(const std::string& run, int64_t number, int64_t total,
                                       int64_t steps) override {
    console_.note("run " + std::to_string(number) + " of " + std::to_string(total) + ": " + run);
    return std::make_unique<RunConsole>(steps);
  }

 private:
  Console console_{0};
};

void show(const CompareResults& results, const std::string& dir, const Options& o, CompareConsole& console) {
  if (!o.no_plots) console.note(plot_comparison(dir));
  std::cout << (o.json ? json_for_terminals(results_json(results)) : results_text(results)) << std::flush;
}

int compare(const Options& o) {
  const CompareFile file = load_compare_file(o.config, o.set);
  const std::string dir =
      o.run_dir.empty() ? "runs/" + std::filesystem::path(o.config).stem().string() : o.run_dir;
  // All variants have the same runtime block, which planning sees to.
  const RuntimeConfig runtime = variant_config(file, file.variants[file.baseline]).runtime;
  CompareConsole console;
  if (o.report_only) {
    const CompareResults results = on_device(
        intended_device(runtime), [&]<class T>(const Ops<T>&) { return report_comparison<T>(file, dir); });
    show(results, dir, o, console);
    return kDone;
  }
  if (const LaunchedAs launched = launched_as(); launched.size > 1)
    throw ConfigError("saslm compare trains on one rank, but a launcher started " +
                      std::to_string(launched.size) +
                      "; start it without one, or unset the launcher's variables that were left over");
  watch_stop_signals();
  const Device device = choose_device(runtime);
  console.note("device: " + device.description);
  const CompareOutcome outcome = on_device(
      device, [&](const auto& ops) { return run_comparison(file, dir, ops, console, stop_requested); });
  if (outcome.end == TrainEnd::stopped) {
    console.note("stopped and saved; the same command goes on: " + dir);
    return kStoppedToResume;
  }
  console.note("results: " + dir + "/results.{json,csv,md}");
  show(outcome.results, dir, o, console);
  if (outcome.results.count(RunRecord::Status::finished) == 0)
    throw DivergedError("every run of the comparison diverged; try a lower optim.lr or a longer warmup");
  return kDone;
}

}  // namespace

void add_compare_command(CLI::App& app, RunCommand& run) {
  auto o = std::make_shared<Options>();
  CLI::App* sub = app.add_subcommand(
      "compare", "Train several variants under one budget with several seeds, and say what that shows");
  sub->add_option("CONFIG", o->config, "The comparison's JSON file: base, variants, seeds, budget")
      ->required();
  sub->add_option("--run-dir", o->run_dir, "Where runs and results go (default: runs/NAME-OF-CONFIG)")
      ->check(folder());
  add_set_option(*sub, o->set);
  sub->add_flag("--json", o->json, "Print the results as one JSON object on stdout");
  sub->add_flag("--report-only", o->report_only, "Train nothing; make the report of what there is so far");
  sub->add_flag("--no-plots", o->no_plots, "Draw nothing (plots need python3 with matplotlib)");
  sub->callback([o, &run] { run = [o] { return compare(*o); }; });
}

}  // namespace saslm
