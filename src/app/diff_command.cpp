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
  CLI::App* sub =
      app.add_subcommand("diff",
                         "The first step and tensor in which two runs, or two checkpoints, differ "
                         "(exit 4 when they do)");
  sub->add_option("A", o->a, "A run directory or a checkpoint")->required()->check(folder());
  sub->add_option("B", o->b, "Another")->required()->check(folder());
  sub->add_flag("--json", o->json, "Print one JSON object");
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
