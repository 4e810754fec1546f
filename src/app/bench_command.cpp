#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "app/command.h"
#include "app/device.h"
#include "app/options.h"
#include "app/print_json.h"
#include "app/terminal.h"
#include "bench/time_kernels.h"
#include "core/printable.h"
#include "metrics/progress.h"
#include "train/plan.h"
#include "train/time_steps.h"

namespace saslm {
namespace {

struct BenchStepArguments {
  std::vector<std::string> configs, set;
  int64_t steps = 10, warmup = 3;
  bool json = false;
};

struct Timed {
  std::string path, kind, device;
  Plan plan;
  int64_t steps = 0;
  double ms = 0, ms_min = 0, ms_max = 0;  // of a step: median and range
  double peak = 0;                        // FLOP/s
  std::string peak_from;

  double tokens_per_s() const { return double(plan.tokens_per_step) / ms * 1e3; }
  double flop_per_s() const { return plan.flops_per_token * tokens_per_s(); }
  double percent_of_peak() const { return 100 * flop_per_s() / peak; }
};

Timed time_config(const BenchStepArguments& o, const std::string& path) {
  const Config config = load_config(path, o.set);
  const Device device = choose_device(config.runtime);
  Timed t{.path = path, .kind = name_of(config.model.attention.kind), .device = device.description};
  on_device(device, [&]<class T>(const Ops<T>& ops) {
    t.plan = make_plan<T>(config);
    check_plan_fits<T>(config, t.plan, ops.available_bytes(1));
    std::vector<double> ms = time_steps(config, ops, {.warmup = o.warmup, .steps = o.steps});
    std::sort(ms.begin(), ms.end());
    t.steps = int64_t(ms.size());
    t.ms = ms[ms.size() / 2];
    t.ms_min = ms.front();
    t.ms_max = ms.back();
    const bool given = config.runtime.peak_tflops > 0;
    const Ceilings measured = given ? Ceilings{} : measure_ceilings(ops, {});
    t.peak = given ? config.runtime.peak_tflops * 1e12 : measured.flop_per_s;
    t.peak_from = given ? "runtime.peak_tflops" : measured.flops_from;
  });
  return t;
}

nlohmann::ordered_json as_json(const Timed& t) {
  return {{"config", t.path},
          {"kind", t.kind},
          {"device", t.device},
          {"parameters", t.plan.parameters},
          {"tokens_per_step", t.plan.tokens_per_step},
          {"tokens_per_s", t.tokens_per_s()},
          {"step_ms", t.ms},
          {"step_ms_min", t.ms_min},
          {"step_ms_max", t.ms_max},
          {"steps", t.steps},
          {"flops_per_token", t.plan.flops_per_token},
          {"gflop_per_s", t.flop_per_s() / 1e9},
          {"peak_gflop_per_s", t.peak / 1e9},
          {"peak_from", t.peak_from},
          {"percent_of_peak", t.percent_of_peak()},
          {"memory_bytes", t.plan.arena_bytes}};
}

void print_text(const Timed& t) {
  print(
      "%s  %s\n  %.0f tokens/s   step %.1f ms (median of %lld, %.1f to %.1f)   %.0f GFLOP/s, %.1f %% of %.0f "
      "(%s)"
      "   memory %s\n",
      printable(t.path).c_str(), t.device.c_str(), t.tokens_per_s(), t.ms, static_cast<long long>(t.steps),
      t.ms_min, t.ms_max, t.flop_per_s() / 1e9, t.percent_of_peak(), t.peak / 1e9, t.peak_from.c_str(),
      human_bytes(t.plan.arena_bytes).c_str());
  std::fflush(stdout);
}

int bench_step(const BenchStepArguments& o) {
  nlohmann::ordered_json all;
  for (const std::string& path : o.configs) {
    const Timed timed = time_config(o, path);
    if (o.json)
      all["runs"].push_back(as_json(timed));
    else
      print_text(timed);
  }
  if (o.json) print_json(o.configs.size() == 1 ? all["runs"][0] : all);
  return kDone;
}

}  // namespace

void add_bench_command(CLI::App& app, RunCommand& run) {
  auto o = std::make_shared<BenchStepArguments>();
  CLI::App* bench = app.add_subcommand("bench", "Time training steps, operations or gradient all-reduces");
  bench->group("Measure this machine");
  bench->require_subcommand(1);
  CLI::App* sub =
      bench->add_subcommand("step",
                            "Time whole training steps on random tokens\n\n"
                            "Tokens per second, percent of the peak and memory are printed for each config.");
  add_bench_kernels_command(*bench, run);
  add_bench_ranks_command(*bench, run);
  for (CLI::App* part : bench->get_subcommands({})) part->group("Commands");
  bench->footer(
      "Examples:\n"
      "  saslm bench step my.json\n"
      "  saslm bench kernels my.json --only attention_fwd,attention_bwd\n"
      "  saslm bench ranks --ranks 2\n");
  sub->add_option("CONFIG", o->configs, "JSON file of a run; several files are timed one after another")
      ->type_name("FILE")
      ->required();
  add_set_option(*sub, o->set);
  sub->add_option("--steps", o->steps, "Steps to time")->check(integer_in(1))->capture_default_str();
  sub->add_option("--warmup", o->warmup, "Warmup steps, which are not timed")
      ->check(integer_in(0))
      ->capture_default_str();
  add_json_flag(*sub, o->json);
  sub->footer(
      "Examples:\n"
      "  saslm bench step my.json\n"
      "  saslm bench step mha.json sas.json --steps 20\n");
  sub->callback([o, &run] { run = [o] { return bench_step(*o); }; });
}

}  // namespace saslm
