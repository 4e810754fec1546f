#include <CLI/CLI.hpp>
#include <iostream>
#include <nlohmann/json.hpp>

#include "app/command.h"
#include "app/device.h"
#include "app/options.h"
#include "app/print_json.h"
#include "app/show_difference.h"
#include "core/printable.h"
#include "verify/replay.h"

namespace saslm {
namespace {

struct VerifyArguments {
  ReplayOptions replay;
  int64_t from = -1, to = -1;
  std::string device;
  std::vector<std::string> set;
  bool json = false;
};

// Prints possible reasons for a difference.
void tell_what_differs(const ReplayPlan& plan, const ComputedBy& now) {
  for (const std::string& line : plan.changes)
    std::cerr << "warning: the run's settings changed at " << line
              << "; the replay uses the last settings and may differ for that reason alone\n";
  for (const std::string& line : other_arithmetic(plan.computed_by, now))
    std::cerr << "warning: " << line << "; the replay may differ for that reason alone\n";
  for (const std::string& line : other_build(plan.computed_by, now))
    std::cerr << "warning: " << line << "; the replay may differ for that reason alone\n";
}

int verify(const VerifyArguments& o) {
  ReplayOptions options = o.replay;
  if (o.from >= 0) options.from = o.from;
  if (o.to >= 0) options.to = o.to;
  if (options.work_dir.empty()) options.work_dir = options.run_dir + "/verify";
  std::vector<std::string> overrides = o.set;
  if (!o.device.empty()) overrides.push_back("runtime.device=\"" + o.device + "\"");
  const ReplayPlan plan = plan_replay(options, overrides);
  const Device device = choose_device(plan.config.runtime);
  for (const std::string& line : plan.skipped)
    std::cerr << "warning: skipped checkpoint " << printable(line) << "\n";
  std::cerr << "replaying steps " << plan.from << " to " << plan.to << " on " << device.description << "\n";
  const StateDifference difference = on_device(device, [&](const auto& ops) {
    tell_what_differs(plan, computed_by(ops));
    return replay(options, plan, ops);
  });
  if (o.json) {
    nlohmann::ordered_json j = {{"run_dir", options.run_dir}, {"from", plan.from}, {"to", plan.to}};
    j.update(to_json(difference));
    print_json(j);
  } else {
    print(difference, "the replay", options.run_dir);
  }
  return difference.none() ? kDone : kDiffers;
}

}  // namespace

void add_verify_command(CLI::App& app, RunCommand& run) {
  auto o = std::make_shared<VerifyArguments>();
  CLI::App* sub = app.add_subcommand(
      "verify",
      "Train a part of a run again, and compare bit for bit\n\nThe part starts at one checkpoint and ends at "
      "the next. A difference (exit code 4) means that the machine computed something wrong, then or now.");
  sub->group("Look at models and runs");
  sub->add_option("RUN", o->replay.run_dir, "Run directory; only --work-dir is written to")
      ->required()
      ->check(folder());
  sub->add_option("--from", o->from, "Step of the checkpoint to start from; 0 for the start of the run")
      ->check(integer_in(0))
      ->type_name("STEP")
      ->default_str("the checkpoint before --to");
  sub->add_option("--to", o->to, "Step of the checkpoint to compare with")
      ->check(integer_in(1))
      ->type_name("STEP")
      ->default_str("the newest checkpoint");
  sub->add_option("--init-from", o->replay.init_from, "Weights that the run started from, for --from 0")
      ->check(folder())
      ->default_str("the recorded path");
  sub->add_option("--work-dir", o->replay.work_dir, "Temporary folder, created and removed again")
      ->check(folder())
      ->default_str("RUN/verify");
  add_device_option(*sub, o->device);
  add_set_option(*sub, o->set);
  add_json_flag(*sub, o->json);
  sub->footer(
      "Examples:\n"
      "  saslm verify runs/my\n"
      "  saslm verify runs/my --from 0\n"
      "\n"
      "See also: saslm help resume\n");
  sub->callback([o, &run] { run = [o] { return verify(*o); }; });
}

}  // namespace saslm
