#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "app/command.h"
#include "app/device.h"
#include "app/options.h"
#include "core/rng.h"
#include "train/optimizer.h"
#include "train/plan.h"

namespace saslm {
namespace {

struct Options {
  std::string config;
  std::vector<std::string> set;
  int64_t steps = 10, warmup = 3;
  bool json = false;
};

// Whole training steps on random tokens: gradients of every micro-step, norm, update.
std::vector<double> time_steps(const Config& config, const Options& o) {
  const TrainConfig& train = config.train;
  const Engine<float> engine(config.model, {train.micro_batch, train.seq_len}, Mode::train, cpu_ops<float>());
  engine.initialise(train.seed);
  const AdamWOptimizer<float> optimizer(engine, config.optim);
  std::vector<int32_t> tokens(size_t(train.micro_batch * train.seq_len + 1));
  const double scale = 1.0 / double(train.global_batch * train.seq_len);

  std::vector<double> step_ms;
  for (int64_t step = 0; step < o.warmup + o.steps; ++step) {
    const auto begin = std::chrono::steady_clock::now();
    engine.zero_gradients();
    for (int64_t micro = 0; micro < train.grad_accum; ++micro) {
      const uint64_t key = stream_key(uint64_t(step * train.grad_accum + micro), "bench tokens");
      for (size_t i = 0; i < tokens.size(); ++i)
        tokens[i] = int32_t(uniform(key, i) * double(config.model.vocab_size));
      engine.loss_and_grads(
          {.B = train.micro_batch, .T = train.seq_len, .inputs = tokens.data(), .targets = tokens.data() + 1},
          scale);
    }
    optimizer.update(config.optim.lr, optimizer.grad_norm(), step + 1);
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
    if (step >= o.warmup) step_ms.push_back(took.count());
  }
  std::sort(step_ms.begin(), step_ms.end());
  return step_ms;
}

int bench_step(const Options& o) {
  const Config config = load_config(o.config, o.set);
  const Backend backend = choose_backend(config.runtime);
  const Plan plan = make_plan<float>(config);
  check_plan_fits<float>(config, plan);
  const std::vector<double> ms = time_steps(config, o);
  const double median = ms[ms.size() / 2], tokens = double(plan.tokens_per_step);
  const double gflops = plan.flops_per_token * tokens / median / 1e6;
  if (o.json) {
    std::cout << nlohmann::ordered_json{{"config", o.config},
                                        {"kind", name_of(config.model.attention.kind)},
                                        {"device", backend.description},
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
              o.config.c_str(), backend.description.c_str(), tokens / median * 1e3, median,
              static_cast<long long>(o.steps), ms.front(), ms.back(), gflops);
  return kDone;
}

}  // namespace

void add_bench_command(CLI::App& app, RunCommand& run) {
  auto o = std::make_shared<Options>();
  CLI::App* bench = app.add_subcommand("bench", "Measure this machine");
  bench->require_subcommand(1);
  CLI::App* step = bench->add_subcommand("step", "Time whole training steps of a config, on random tokens");
  step->add_option("CONFIG", o->config, "The run's JSON file")->required();
  add_set_option(*step, o->set);
  step->add_option("--steps", o->steps, "Timed steps")->check(integer_in(1))->capture_default_str();
  step->add_option("--warmup", o->warmup, "Steps before them")->check(integer_in(0))->capture_default_str();
  step->add_flag("--json", o->json, "Print one JSON object");
  step->callback([o, &run] { run = [o] { return bench_step(*o); }; });
}

}  // namespace saslm
