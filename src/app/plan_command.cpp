#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "app/command.h"
#include "app/console.h"
#include "app/device.h"
#include "app/options.h"
#include "app/planned_evaluations.h"
#include "app/print_json.h"
#include "app/print_kernels.h"
#include "app/print_plans.h"
#include "app/terminal.h"
#include "core/error.h"
#include "core/printable.h"
#include "metrics/progress.h"
#include "train/plan.h"
#include "train/plan_data.h"

namespace saslm {
namespace {

struct PlanArguments {
  std::vector<std::string> configs, set;
  int64_t ranks = 1;
  bool json = false, buffers = false, no_data = false;
};

}  // namespace

nlohmann::ordered_json as_json(const Planned& p) {
  const Plan& plan = p.plan;
  nlohmann::ordered_json parts, regions, buffers;
  for (const auto& [part, count] : plan.parameters_by_part) parts[part] = count;
  for (const auto& [region, bytes] : plan.bytes_by_region) regions[region] = bytes;
  for (const auto& [buffer, bytes] : plan.bytes_by_buffer) buffers[buffer] = bytes;
  return {{"config", p.path},
          {"kind", name_of(p.config.model.attention.kind)},
          {"parameters", plan.parameters},
          {"parameters_by_part", parts},
          {"flops_per_token", plan.flops_per_token},
          {"flops_per_token_by_part",
           {{"attention", plan.flops_attention}, {"mlp", plan.flops_mlp}, {"head", plan.flops_head}}},
          {"recompute", name_of(p.config.runtime.recompute)},
          {"ranks", p.config.train.ranks},
          {"zero_stage", p.config.runtime.zero_stage},
          {"flops_recomputed_per_token", plan.flops_recomputed},
          {"arena_bytes", plan.arena_bytes},
          {"headroom_bytes", plan.headroom_bytes},
          {"bytes_by_region", regions},
          {"bytes_by_buffer", buffers},
          {"checkpoint_bytes", plan.checkpoint_bytes},
          {"steps", p.config.train.steps},
          {"tokens_per_step", plan.tokens_per_step},
          {"tokens_total", plan.tokens_total},
          {"evaluations", plan_evaluations(p.config).as_json()},
          {"kernels", kernels_json(p.config)}};
}

namespace {

std::string stem_of(const std::string& path) {
  return std::filesystem::path(path).stem().string();
}

// One column per config, a row per quantity.
class PlanTable {
 public:
  PlanTable(const std::vector<Planned>& plans, int first_column)
      : plans_(plans), first_column_(first_column) {
    for (const Planned& p : plans)
      names_.push_back(plans.size() == 1 ? "" : !p.name.empty() ? p.name : stem_of(p.path));
  }

  void heading(const std::string& text) const { print("%s\n", text.c_str()); }
  template <class Cell>
  void row(const std::string& name, Cell&& cell) const {
    std::vector<std::string> cells;
    for (const Planned& p : plans_) cells.push_back(cell(p));
    line(name, cells);
  }
  // Rows for a list of named numbers: the union of all configs' names.
  template <class Show>
  void rows(std::vector<std::pair<std::string, int64_t>> Plan::*list, Show&& show) const {
    std::vector<std::string> order;
    for (const Planned& p : plans_)
      for (const auto& [name, value] : p.plan.*list)
        if (std::find(order.begin(), order.end(), name) == order.end()) order.push_back(name);
    for (const std::string& name : order)
      row(name, [&](const Planned& p) {
        for (const auto& [its_name, value] : p.plan.*list)
          if (its_name == name) return std::string(show(value));
        return std::string("-");
      });
  }
  void names() const {
    if (plans_.size() > 1) line("", names_);
  }
  // For several configs: the difference from the first.
  template <class Number>
  void distance(Number Plan::*value) const {
    if (plans_.size() < 2) return;
    row("relative to the first", [&](const Planned& p) {
      char text[32];
      const double ratio = double(p.plan.*value) / double(plans_[0].plan.*value);
      std::snprintf(text, sizeof text, "%+.2f %%", 100 * (ratio - 1));
      return std::string(text);
    });
  }

 private:
  void line(const std::string& name, const std::vector<std::string>& cells) const {
    print("  %-*s", first_column_, printable(name).c_str());
    for (size_t i = 0; i < cells.size(); ++i)
      print(" %*s", int(std::max<size_t>(16, names_[i].size() + 1)), printable(cells[i]).c_str());
    print("\n");
  }

  const std::vector<Planned>& plans_;
  int first_column_;
  std::vector<std::string> names_;
};

}  // namespace

void print_text(const std::vector<Planned>& plans, bool buffers) {
  const PlanTable table(plans, buffers ? 40 : 24);
  const auto count = [&](const char* name, double Plan::*value) {
    table.row(name, [&](const Planned& p) { return human_count(p.plan.*value); });
  };
  table.names();
  table.heading("parameters");
  table.rows(&Plan::parameters_by_part, [](int64_t n) { return std::to_string(n); });
  table.row("total", [](const Planned& p) { return std::to_string(p.plan.parameters); });
  table.distance(&Plan::parameters);
  const bool windowed = std::any_of(plans.begin(), plans.end(), [](const Planned& p) {
    return p.config.model.attention.window.has_value();
  });
  table.heading("training FLOPs per token (3 x forward, 2 per multiply-add, " +
                std::string(windowed ? "attention as far as it sees" : "causal half of attention") +
                " at seq_len)");
  table.row("seq_len", [](const Planned& p) { return std::to_string(p.config.train.seq_len); });
  count("attention", &Plan::flops_attention);
  count("mlp", &Plan::flops_mlp);
  count("head", &Plan::flops_head);
  count("total", &Plan::flops_per_token);
  table.distance(&Plan::flops_per_token);
  count("in addition, recomputed", &Plan::flops_recomputed);
  table.heading("memory, in one allocation");
  table.row("runtime.recompute", [](const Planned& p) {
    const Recompute recompute = p.config.runtime.recompute;
    const bool idle = recompute == Recompute::sim && !p.config.model.attention.sas;
    return name_of(recompute) + std::string(idle ? " (no effect)" : "");
  });
  if (plans[0].config.train.ranks > 1) {
    table.row("ranks (this is one)", [](const Planned& p) { return std::to_string(p.config.train.ranks); });
    table.row("runtime.zero_stage",
              [](const Planned& p) { return std::to_string(p.config.runtime.zero_stage); });
  }
  table.rows(&Plan::bytes_by_region, [](int64_t n) { return human_bytes(n); });
  table.row("total", [](const Planned& p) { return human_bytes(p.plan.arena_bytes); });
  table.row("total in bytes", [](const Planned& p) { return std::to_string(p.plan.arena_bytes); });
  table.distance(&Plan::arena_bytes);
  if (std::any_of(plans.begin(), plans.end(), [](const Planned& p) { return p.plan.headroom_bytes > 0; }))
    table.row("in addition, for CUDA", [](const Planned& p) { return human_bytes(p.plan.headroom_bytes); });
  if (plans[0].config.train.ranks > 1)
    table.row("all ranks on this CPU", [](const Planned& p) {
      const bool gpu = intended_device(p.config.runtime).gpu;
      return gpu ? "-" : human_bytes(p.plan.arena_bytes * p.config.train.ranks);
    });
  if (buffers) {
    table.heading("memory by buffer (buffers with disjoint lifetimes overlap)");
    table.rows(&Plan::bytes_by_buffer, [](int64_t n) { return human_bytes(n); });
  }
  table.heading("run");
  table.row("steps", [](const Planned& p) { return std::to_string(p.config.train.steps); });
  table.row("tokens per step", [](const Planned& p) { return human_count(double(p.plan.tokens_per_step)); });
  table.row("tokens", [](const Planned& p) { return human_count(double(p.plan.tokens_total)); });
  table.row("FLOPs", [](const Planned& p) {
    return human_count(double(p.plan.tokens_total) * p.plan.flops_per_token);
  });
  table.row("evaluations",
            [](const Planned& p) { return std::to_string(plan_evaluations(p.config).number); });
  table.row("sequences per evaluation",
            [](const Planned& p) { return plan_evaluations(p.config).sequences_text(); });
  table.row("FLOPs of evaluations", [](const Planned& p) { return plan_evaluations(p.config).share_text(); });
  table.row("one checkpoint", [](const Planned& p) { return human_bytes(p.plan.checkpoint_bytes); });
  print_kernels(plans);
}

Plan plan_for(const Config& config) {
  return intended_device(config.runtime).bf16 ? make_plan<bf16>(config) : make_plan<float>(config);
}

namespace {

// Checks memory if the device is on this machine. All ranks are assumed to be on this machine.
void check_fits(const Planned& p) {
  const Device device = intended_device(p.config.runtime);
  if (device.gpu && !std::holds_alternative<Gpu>(find_gpu())) return;
  const int sharing = device.gpu ? 1 : int(p.config.train.ranks);
  on_device(device, [&]<class T>(const Ops<T>& ops) {
    check_plan_fits<T>(p.config, p.plan, ops.available_bytes(sharing), std::is_same_v<T, float>, sharing);
  });
}

void check_can_start(const Planned& p, const PlanData& data) {
  if (!data.problem.empty())
    throw DataError(p.path + ": " + data.problem + " (`saslm plan --no-data` does not need the data)");
  try {
    check_fits(p);
  } catch (const ConfigError& error) {
    throw ConfigError(p.path + ": " + error.what());
  }
}

// All variants of a comparison, checked as `saslm compare` does.
int plan_comparison(const std::string& path, const PlanArguments& o) {
  CompareFile file = load_compare_file(path, o.set);
  file.ranks = o.ranks;
  const Device device = intended_device(variant_config(file, file.variants[file.baseline]).runtime);
  const bool absent = device.gpu && !std::holds_alternative<Gpu>(find_gpu());
  const int sharing = device.gpu ? 1 : int(o.ranks);
  const auto checked = [&]<class T>(const Ops<T>* ops) {
    ComparePlan plan = check_variants<T>(file, ops == nullptr ? 0 : ops->available_bytes(sharing), sharing);
    set_steps<T>(file, plan);
    return plan;
  };
  const ComparePlan plan = !absent
                               ? on_device(device, [&]<class T>(const Ops<T>& ops) { return checked(&ops); })
                           : device.bf16 ? checked(static_cast<const Ops<bf16>*>(nullptr))
                                         : checked(static_cast<const Ops<float>*>(nullptr));
  print_comparison(plan, path, {.json = o.json, .buffers = o.buffers});
  return kDone;
}

int plan(const PlanArguments& o) {
  const auto comparison = std::find_if(o.configs.begin(), o.configs.end(), is_compare_file);
  if (comparison != o.configs.end() && o.configs.size() == 1) {
    if (o.no_data)
      throw ConfigError(
          "--no-data is for the config of a run; a comparison is planned with its data, which " +
          *comparison + " must find");
    return plan_comparison(*comparison, o);
  }
  if (comparison != o.configs.end()) throw ConfigError(*comparison + " is a comparison; plan it alone");
  std::vector<Planned> plans;
  std::vector<PlanData> data;  // of each
  for (const std::string& path : o.configs) {
    Config config = load_config(path, o.set, o.ranks);
    Plan plan = plan_for(config);
    data.push_back(o.no_data ? PlanData{} : look_at_data(config));
    plan.checkpoint_bytes += data.back().tokenizer_bytes;
    plans.push_back({path, std::move(config), std::move(plan)});
  }
  if (!o.json) {
    print_text(plans, o.buffers);
  } else if (plans.size() == 1) {
    print_json(as_json(plans[0]), 2);
  } else {
    nlohmann::ordered_json all;
    for (const Planned& p : plans) all["plans"].push_back(as_json(p));
    print_json(all, 2);
  }
  std::fflush(stdout);
  for (size_t i = 0; i < plans.size(); ++i)
    for (const std::string& line : data[i].notes) note_aside(plans[i].path + ": " + line);
  for (size_t i = 0; i < plans.size(); ++i) check_can_start(plans[i], data[i]);
  return kDone;
}

}  // namespace

void add_plan_command(CLI::App& app, RunCommand& run) {
  auto o = std::make_shared<PlanArguments>();
  CLI::App* sub = app.add_subcommand(
      "plan",
      "Print what a run needs: parameters, FLOPs, memory, disk\n\n"
      "Config and data are checked as train checks them; the exit code is 2 if the run could not start.");
  sub->group("Train and compare");
  sub->add_option("CONFIG", o->configs,
                  "JSON file of a run or of a comparison; several configs, or a comparison's variants, are "
                  "shown side by side")
      ->type_name("FILE")
      ->required();
  add_set_option(*sub, o->set);
  sub->add_option(
         "--ranks", o->ranks,
         "Number of ranks that share each step; memory is printed for one rank and, on a CPU, for all")
      ->check(integer_in(1, 1024))
      ->default_str("1");
  sub->add_flag("--buffers", o->buffers, "Also print the size of each buffer");
  sub->add_flag("--no-data", o->no_data, "Do not read the data, which need not be on this machine");
  add_json_flag(*sub, o->json);
  sub->footer(
      "Examples:\n"
      "  saslm plan my.json\n"
      "  saslm plan --no-data mha.json sas.json\n"
      "  saslm plan my.json --ranks 2 --set runtime.zero_stage=1\n");
  sub->callback([o, &run] { run = [o] { return plan(*o); }; });
}

void add_schema_command(CLI::App& app, RunCommand& run) {
  CLI::App* sub = app.add_subcommand("schema",
                                     "Print the JSON Schema of a config\n\n"
                                     "Editors use it to complete and check configs. The file of a comparison "
                                     "has other keys (saslm help comparison).");
  sub->group("Help");
  sub->footer(
      "Examples:\n"
      "  saslm schema > saslm.schema.json\n"
      "\n"
      "See also: saslm help config\n");
  sub->callback([&run] {
    run = [] {
      std::cout << config_schema();
      return kDone;
    };
  });
}

}  // namespace saslm
