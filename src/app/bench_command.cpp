#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "app/command.h"
#include "app/device.h"
#include "app/options.h"
#include "train/plan.h"
#include "train/time_steps.h"

namespace saslm {
namespace {

struct Options {
  std::string config;
  std::vector<std::string> set;
  int64_t steps = 10, warmup = 3;
  bool json = false;
};

int bench_step(const Options& o) {
  const Config config = load_config(o.config, o.set);
  const Device device = choose_device(config.runtime);
  Plan plan;
  std::vector<double> ms = on_device(device, [&]<class T>(const Ops<T>& ops) {
    plan = make_plan<T>(config);
    check_plan_fits<T>(config, plan, ops.available_bytes());
    return time_steps(config, ops, {.warmup = o.warmup, .steps = o.steps});
  });
  std::sort(ms.begin(), ms.end());
  const double median = ms[ms.size() / 2], tokens = double(plan.tokens_per_step);
  const double gflops = plan.flops_per_token * tokens / median / 1e6;
  if (o.json) {
    std::cout << nlohmann::ordered_json{{"config", o.config},
                                        {"kind", name_of(config.model.attention.kind)},
                                        {"device", device.description},
                                        {"parameters", plan.parameters},
                                        {"tokens_per_step", plan.tokens_per_step},
                                        {"tokens_per_s", tokens / median * 1e3},
                                        {"step_ms", median},
                                        {"step_ms_min", ms.front()},
                                        {"step_ms_max", ms.back()},
                                        {"steps", o.steps},
                                        {"flops_per_token", plan.flops_per_token},
                                        {"gflop_per_s", gflops}}
                     .dump()
              << "\n";
    return kDone;
  }
  std::printf("%s  %s\n  %.0f tokens/s   step %.1f ms (median of %lld, %.1f to %.1f)   %.0f GFLOP/s\n",
              o.config.c_str(), device.description.c_str(), tokens / median * 1e3, median,
              static_cast<long long>(o.steps), ms.front(), ms.back(), gflops);
  return kDone;
}

}  // namespace

void add_bench_command(CLI::App& app, RunCommand& run) {
  auto o = std::make_shared<Options>();
  CLI::App* bench = app.add_subcommand("bench", "Measure this machine");
  bench->require_subcommand(1);
  add_bench_kernels_command(*bench, run);
  CLI::App* step = bench->add_subcommand("step", "Time whole training steps of a config, on random tokens");
  step->add_option("CONFIG", o->config, "The run's JSON file")->required();
  add_set_option(*step, o->set);
  step->add_option("--steps", o->steps, "Timed steps")->check(integer_in(1))->capture_default_str();
  step->add_option("--warmup", o->warmup, "Steps before them")->check(integer_in(0))->capture_default_str();
  step->add_flag("--json", o->json, "Print one JSON object");
  step->callback([o, &run] { run = [o] { return bench_step(*o); }; });
}

}  // namespace saslm
