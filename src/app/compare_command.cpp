#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>

#include "app/command.h"
#include "app/console.h"
#include "app/device.h"
#include "app/launch_ranks.h"
#include "app/options.h"
#include "app/plot_script.h"
#include "app/print_json.h"
#include "app/print_plans.h"
#include "app/stop_signal.h"
#include "bench/kernel_paths.h"
#include "check/selfcheck.h"
#include "comm/host_ranks.h"
#include "compare/compare.h"
#include "compare/report.h"
#include "core/error.h"

namespace saslm {
namespace {

struct CompareArguments {
  std::string config, run_dir, device;
  std::vector<std::string> set;
  int64_t ranks = 0;  // 0: the launcher's
  bool json = false, report_only = false, dry_run = false, no_plots = false;
};

// Console of one of many runs: saves are not printed.
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

// For all ranks except rank 0, which prints everything.
class SilentObserver : public CompareObserver {};

void show(const CompareResults& results, const std::string& dir, const CompareArguments& o,
          CompareConsole& console) {
  if (!o.no_plots) {
    write_curves(results, dir);
    console.note(plot_comparison(dir));
  }
  std::cout << (o.json ? json_for_terminals(results_json(results)) : results_text(results)) << std::flush;
}

CompareFile load(const CompareArguments& o, int64_t ranks) {
  std::vector<std::string> overrides = o.set;
  if (!o.device.empty()) overrides.push_back("runtime.device=\"" + o.device + "\"");
  CompareFile file = load_compare_file(o.config, overrides);
  file.ranks = ranks;
  for (const CompareVariant& variant : file.variants) variant_config(file, variant);
  return file;
}

int report_only(const CompareArguments& o, const std::string& dir) {
  const CompareFile file = load(o, 1);
  const Device device = intended_device(variant_config(file, file.variants[file.baseline]).runtime);
  CompareConsole console;
  show(on_device(device, [&]<class T>(const Ops<T>&) { return report_comparison<T>(file, dir); }), dir, o,
       console);
  return kDone;
}

int dry_run(const CompareArguments& o, const CompareFile& file, const CompareOptions& options,
            const Device& device) {
  const ComparePlan plan =
      on_device(device, [&](const auto& ops) { return check_comparison(file, options, ops); });
  print_comparison(plan, o.config, {.json = o.json});
  return kDone;
}

int end_of(const CompareOutcome& outcome, const std::string& dir, const CompareArguments& o,
           CompareConsole& console) {
  if (outcome.end == TrainEnd::stopped) {
    console.note("stopped and saved; the same command continues: " + dir);
    return kStoppedToResume;
  }
  console.note("results: " + dir + "/results.{json,csv,md}");
  show(outcome.results, dir, o, console);
  if (outcome.results.count(RunRecord::Status::finished) == 0)
    throw DivergedError("every run of the comparison diverged; try a lower optim.lr or a longer warmup");
  return kDone;
}

int compare(const CompareArguments& o) {
  const std::string dir =
      o.run_dir.empty() ? "runs/" + std::filesystem::path(o.config).stem().string() : o.run_dir;
  if (o.report_only) return report_only(o, dir);
  LaunchedAs launched = launched_as();
  launched.shared_dir = dir;
  if (o.ranks > 1 && !launched.launched) {  // so that errors are printed once
    const CompareFile file = load(o, o.ranks);
    const Device device = intended_device(variant_config(file, file.variants[file.baseline]).runtime);
    if (o.dry_run) return dry_run(o, file, {.dir = dir, .local_ranks = int(o.ranks)}, device);
    return launch_ranks(int(o.ranks));
  }
  if (o.ranks > 0) check_not_launched_twice(launched, o.ranks, "--ranks");
  if (!o.dry_run) watch_stop_signals();
  const CompareFile file = load(o, launched.size);
  // All variants have the same runtime block, as planning has checked.
  const RuntimeConfig runtime = variant_config(file, file.variants[file.baseline]).runtime;
  CompareOptions options = {.dir = dir, .stop = stop_requested, .local_ranks = launched.local_size};
  if (o.dry_run) return dry_run(o, file, options, choose_device(runtime, launched));
  std::unique_ptr<HostRanks> host = join_ranks(launched, runtime.comm_timeout_s, waiting_of(launched));
  const Device device = choose_device(runtime, launched);
  const std::unique_ptr<Communicator> joined = host ? join_devices(std::move(host), device) : nullptr;
  const Communicator& comm = joined ? *joined : single_rank();

  CompareConsole console;
  SilentObserver silent;
  CompareObserver& observer = comm.first() ? static_cast<CompareObserver&>(console) : silent;
  observer.note("device: " + device.description +
                (comm.size() > 1 ? ", on each of " + std::to_string(comm.size()) + " ranks" : ""));
  const CompareOutcome outcome = on_device(device, [&]<class T>(const Ops<T>& ops) {
    options.name_kernels = kernel_paths<T>;
    if (device.gpu) options.check_kernels = [&](const Config& c) { return selfcheck(c, ops); };
    return run_comparison(file, options, ops, observer, comm);
  });
  gather_numbers(comm, {}, "end of the comparison");  // the last thing with a time limit
  return comm.first() ? end_of(outcome, dir, o, console)
                      : kDone;  // launchers end all ranks if one ends with another code
}

}  // namespace

void add_compare_command(CLI::App& app, RunCommand& run) {
  auto o = std::make_shared<CompareArguments>();
  CLI::App* sub = app.add_subcommand(
      "compare",
      "Train variants with several seeds under one budget, and compare them\n\nThe result is each variant's "
      "difference from the baseline with its 95 % interval, in results.json, results.csv, results.md and "
      "report.html. The same command continues an interrupted comparison.");
  sub->group("Train and compare");
  sub->add_option("CONFIG", o->config, "JSON file of the comparison: base, variants, seeds, budget")
      ->type_name("FILE")
      ->required();
  sub->add_option("--run-dir", o->run_dir, "Folder for the runs and the results")
      ->check(folder())
      ->default_str("runs/NAME-OF-CONFIG");
  add_set_option(*sub, o->set);
  add_device_option(*sub, o->device);
  sub->add_option("--ranks", o->ranks,
                  "Number of processes on this machine that share each step; a power of two")
      ->check(integer_in(1, 1024))
      ->default_str("1");
  CLI::Option* dry = sub->add_flag("--dry-run", o->dry_run,
                                   "Check everything and print what each variant needs; nothing is written");
  sub->add_flag("--report-only", o->report_only, "Write the results of the runs so far; nothing is trained")
      ->excludes(dry);
  sub->add_flag("--no-plots", o->no_plots, "Do not write report.html (it needs python3 with matplotlib)");
  add_json_flag(*sub, o->json);
  sub->footer(
      "Examples:\n"
      "  saslm compare mha_sas.json --dry-run\n"
      "  saslm compare mha_sas.json\n"
      "  saslm compare mha_sas.json --report-only\n"
      "\n"
      "See also: saslm help comparison\n");
  sub->callback([o, &run] { run = [o] { return compare(*o); }; });
}

}  // namespace saslm
