#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "app/command.h"
#include "app/options.h"
#include "metrics/progress.h"
#include "train/plan.h"

namespace saslm {
namespace {

struct Options {
  std::string config;
  std::vector<std::string> set;
  bool json = false;
};

void print_json(const Config& config, const Plan& plan) {
  nlohmann::ordered_json parts, regions;
  for (const auto& [part, count] : plan.parameters_by_part) parts[part] = count;
  for (const auto& [region, bytes] : plan.bytes_by_region) regions[region] = bytes;
  const nlohmann::ordered_json j = {
      {"kind", name_of(config.model.attention.kind)},
      {"parameters", plan.parameters},
      {"parameters_by_part", parts},
      {"flops_per_token", plan.flops_per_token},
      {"flops_per_token_by_part",
       {{"attention", plan.flops_attention}, {"mlp", plan.flops_mlp}, {"head", plan.flops_head}}},
      {"arena_bytes", plan.arena_bytes},
      {"bytes_by_region", regions},
      {"checkpoint_bytes", plan.checkpoint_bytes},
      {"steps", config.train.steps},
      {"tokens_per_step", plan.tokens_per_step},
      {"tokens_total", plan.tokens_total}};
  std::cout << j.dump(2) << "\n";
}

void print_text(const Config& config, const Plan& plan) {
  const auto row = [](const std::string& name, const std::string& value) {
    std::printf("  %-24s %16s\n", name.c_str(), value.c_str());
  };
  std::printf("parameters\n");
  for (const auto& [part, count] : plan.parameters_by_part) row(part, std::to_string(count));
  row("total", std::to_string(plan.parameters));
  std::printf(
      "training FLOPs per token (3 x forward, 2 per multiply-add, causal half of attention at T=%lld)\n",
      static_cast<long long>(config.train.seq_len));
  row("attention", human_count(plan.flops_attention));
  row("mlp", human_count(plan.flops_mlp));
  row("head", human_count(plan.flops_head));
  row("total", human_count(plan.flops_per_token));
  std::printf("memory, one block\n");
  for (const auto& [region, bytes] : plan.bytes_by_region) row(region, human_bytes(bytes));
  row("total", human_bytes(plan.arena_bytes));
  row("total in bytes", std::to_string(plan.arena_bytes));
  std::printf("run\n");
  row("steps", std::to_string(config.train.steps));
  row("tokens per step", human_count(double(plan.tokens_per_step)));
  row("tokens", human_count(double(plan.tokens_total)));
  row("FLOPs", human_count(double(plan.tokens_total) * plan.flops_per_token));
  row("one checkpoint", human_bytes(plan.checkpoint_bytes));
}

int plan(const Options& o) {
  const Config config = load_config(o.config, o.set);
  const Plan p = make_plan<float>(config);
  if (o.json)
    print_json(config, p);
  else
    print_text(config, p);
  std::fflush(stdout);
  check_plan_fits<float>(config, p);
  return kDone;
}

}  // namespace

void add_plan_command(CLI::App& app, RunCommand& run) {
  auto o = std::make_shared<Options>();
  CLI::App* sub = app.add_subcommand("plan", "Say what a run will need: parameters, FLOPs, memory, disk");
  sub->add_option("CONFIG", o->config, "The run's JSON file")->required();
  add_set_option(*sub, o->set);
  sub->add_flag("--json", o->json, "Print one JSON object");
  sub->callback([o, &run] { run = [o] { return plan(*o); }; });
}

void add_schema_command(CLI::App& app, RunCommand& run) {
  CLI::App* sub = app.add_subcommand("schema", "Print the JSON Schema of a config file");
  sub->callback([&run] {
    run = [] {
      std::cout << config_schema();
      return kDone;
    };
  });
}

}  // namespace saslm
