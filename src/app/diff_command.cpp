#include <CLI/CLI.hpp>
#include <iostream>
#include <nlohmann/json.hpp>

#include "app/command.h"
#include "app/options.h"
#include "app/print_json.h"
#include "app/show_difference.h"

namespace saslm {

void add_diff_command(CLI::App& app, RunCommand& run) {
  struct Options {
    std::string a, b;
    bool json = false;
  };
  auto o = std::make_shared<Options>();
  CLI::App* sub = app.add_subcommand(
      "diff",
      "Print where two runs or two checkpoints first differ\n\nThe output names the first step and the first "
      "tensor. The exit code is 4 if they differ and 0 if they are bit-identical.");
  sub->group("Look at models and runs");
  sub->add_option("A", o->a, "A run directory or a checkpoint")->required()->check(folder());
  sub->add_option("B", o->b, "The run or checkpoint to compare with")->required()->check(folder());
  add_json_flag(*sub, o->json);
  sub->footer(
      "Examples:\n"
      "  saslm diff runs/my runs/second\n");
  sub->callback([o, &run] {
    run = [o] {
      const StateDifference difference = diff(o->a, o->b);
      if (o->json)
        print_json(to_json(difference));
      else
        print(difference, o->a, o->b);
      return difference.none() ? kDone : kDiffers;
    };
  });
}

}  // namespace saslm
