#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "app/command.h"
#include "app/device.h"
#include "app/options.h"
#include "app/print_json.h"
#include "app/terminal.h"
#include "check/selfcheck.h"
#include "core/printable.h"

namespace saslm {
namespace {

struct Options {
  std::string config, device;
  std::vector<std::string> set;
  bool json = false;
};

using nlohmann::ordered_json;

// One line per kernel of a call; more only if it is wrong.
void print_call(const std::string& op, const std::string& shape, const std::vector<PathResult>& results) {
  for (const PathResult& result : results) {
    const std::string kernel = result.path.empty() ? op : result.path;
    print("%-7s %s %s%s%s\n", result.why.empty() ? "right" : "WRONG", kernel.c_str(), shape.c_str(),
          result.why.empty() ? "" : ": ", printable(result.why).c_str());
  }
}

ordered_json as_json(const std::string& op, const std::string& shape,
                     const std::vector<PathResult>& results) {
  ordered_json kernels = ordered_json::array();
  for (const PathResult& r : results)
    kernels.push_back({{"kernel", r.path.empty() ? ordered_json() : ordered_json(r.path)},
                       {"right", r.why.empty()},
                       {"why", r.why.empty() ? ordered_json() : ordered_json(r.why)}});
  return {{"op", op}, {"shape", shape}, {"kernels", kernels}};
}

int run_selfcheck(const Options& o) {
  std::vector<std::string> overrides = o.set;
  if (!o.device.empty()) overrides.push_back("runtime.device=\"" + o.device + "\"");
  const Config config = load_config(o.config, overrides);
  const Device device = choose_device(config.runtime);
  if (!o.json) print("device: %s\n", device.description.c_str());
  ordered_json calls = ordered_json::array();
  const EachCall each = [&](const std::string& op, const std::string& shape,
                            const std::vector<PathResult>& results) {
    o.json ? calls.push_back(as_json(op, shape, results)) : print_call(op, shape, results);
  };
  const KernelVerdict verdict = on_device(device, [&](const auto& ops) {
    return selfcheck(config, ops, {.again = true, .to_the_end = true, .each = each});
  });
  if (!o.json) {
    print("%s\n", summary(verdict).c_str());
    return kDone;
  }
  ordered_json all = {{"device", device.description}};
  all.update(to_json(verdict));
  all["results"] = calls;
  print_json(all);
  return kDone;
}

}  // namespace

void add_selfcheck_command(CLI::App& app, RunCommand& run) {
  auto o = std::make_shared<Options>();
  CLI::App* sub = app.add_subcommand(
      "selfcheck",
      "Check the kernels of a run on this machine\n\n"
      "Each operation of the run is executed twice at its real sizes and compared with the same operation in "
      "double precision. A run on a GPU does this by itself, once per GPU, driver and build. The exit code "
      "is 1 if an operation has no correct kernel.");
  sub->group("Measure this machine");
  sub->add_option("CONFIG", o->config, "JSON file of the run")->type_name("FILE")->required();
  add_set_option(*sub, o->set);
  add_device_option(*sub, o->device);
  add_json_flag(*sub, o->json);
  sub->footer(
      "Examples:\n"
      "  saslm selfcheck my.json\n"
      "  saslm selfcheck my.json --device cpu --json\n"
      "\n"
      "See also: saslm help runtime.selfcheck, saslm help plan\n");
  sub->callback([o, &run] { run = [o] { return run_selfcheck(*o); }; });
}

}  // namespace saslm
