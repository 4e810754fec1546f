#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "app/command.h"
#include "app/device.h"
#include "app/options.h"
#include "app/print_json.h"
#include "app/terminal.h"
#include "bench/recording.h"
#include "bench/time_kernels.h"
#include "core/error.h"

namespace saslm {
namespace {

struct BenchKernelsArguments {
  std::vector<std::string> configs, set, only;
  std::vector<int64_t> seq_lens;
  int64_t tokens = 0;
  double peak_tflops = 0, peak_gb_per_s = 0;
  TimingOptions timing;
  bool json = false;
};

// One line: a call, its time, and its ratio to the least possible time.
struct Line {
  std::string op, shape;
  double flops, bytes, floor_ms;
  std::vector<int64_t> repeats;
  KernelTime time;

  double tflop_per_s() const { return flops / time.ms / 1e9; }
  double gb_per_s() const { return bytes / time.ms / 1e6; }
  double percent_of_floor() const { return 100 * floor_ms / time.ms; }
};

// All calls of all configs at one sequence length.
struct Table {
  int64_t seq_len, tokens;
  std::vector<Line> lines;

  // Milliseconds of a config's step: the sum of all calls with their repeats.
  double step_ms(size_t config) const {
    double sum = 0;
    for (const Line& line : lines) sum += double(line.repeats[config]) * line.time.ms;
    return sum;
  }
};

struct Report {
  std::string device;
  Ceilings ceilings;
  std::vector<std::string> configs;
  std::vector<Table> tables;
};

template <class T>
Table time_table(const BenchKernelsArguments& o, const std::vector<Config>& configs, const Ops<T>& ops,
                 const Ceilings& ceilings) {
  const TrainConfig& train = configs[0].train;
  Table table{train.seq_len, train.micro_batch * train.seq_len, {}};
  for (const KernelCall<T>& call : record_calls<T>(configs)) {
    if (!o.only.empty() && std::find(o.only.begin(), o.only.end(), call.op) == o.only.end()) continue;
    table.lines.push_back(
        {.op = call.op,
         .shape = call.shape,
         .flops = call.flops,
         .bytes = call.bytes,
         .floor_ms = 1e3 * std::max(call.flops / ceilings.flop_per_s, call.bytes / ceilings.bytes_per_s),
         .repeats = call.repeats,
         .time = time_kernel(call, ops, o.timing)});
  }
  if (table.lines.empty())
    throw ConfigError("--only: a training step of these configs calls none of the operations listed");
  return table;
}

Report measure(const BenchKernelsArguments& o) {
  std::vector<Config> configs;
  for (const std::string& path : o.configs) configs.push_back(load_config(path, o.set));
  check_operation_names(o.only);
  const Device device = choose_device(configs[0].runtime);
  Report report{.device = device.description, .configs = o.configs};
  on_device(device, [&]<class T>(const Ops<T>& ops) {
    Ceilings& ceilings = report.ceilings = measure_ceilings(ops, o.timing);
    if (o.peak_tflops > 0) ceilings.flop_per_s = o.peak_tflops * 1e12, ceilings.flops_from = "given";
    if (o.peak_gb_per_s > 0) ceilings.bytes_per_s = o.peak_gb_per_s * 1e9, ceilings.bytes_from = "given";
    const TrainConfig& first = configs[0].train;
    const int64_t tokens = o.tokens > 0 ? o.tokens : device.gpu ? first.micro_batch * first.seq_len : 1024;
    const std::vector<int64_t> lengths = o.seq_lens.empty() ? std::vector{first.seq_len} : o.seq_lens;
    for (const int64_t length : lengths)
      report.tables.push_back(time_table(o, at_length(configs, length, tokens), ops, ceilings));
  });
  return report;
}

nlohmann::ordered_json as_json(const Report& report, const Line& line, const Table& table) {
  nlohmann::ordered_json calls;
  for (size_t i = 0; i < report.configs.size(); ++i) calls[report.configs[i]] = line.repeats[i];
  return {{"op", line.op},
          {"shape", line.shape},
          {"seq_len", table.seq_len},
          {"tokens", table.tokens},
          {"calls", calls},
          {"ms", line.time.ms},
          {"ms_min", line.time.ms_min},
          {"ms_max", line.time.ms_max},
          {"ns_per_token", line.time.ms * 1e6 / double(table.tokens)},
          {"flops", line.flops},
          {"bytes", line.bytes},
          {"tflop_per_s", line.tflop_per_s()},
          {"gb_per_s", line.gb_per_s()},
          {"floor_ms", line.floor_ms},
          {"percent_of_floor", line.percent_of_floor()},
          {"launches_per_sample", line.time.launches},
          {"rotated_bytes", line.time.rotated_bytes}};
}

void print_object(const BenchKernelsArguments& o, const Report& report) {
  nlohmann::ordered_json kernels = nlohmann::ordered_json::array(), steps = nlohmann::ordered_json::array();
  for (const Table& table : report.tables) {
    for (const Line& line : table.lines) kernels.push_back(as_json(report, line, table));
    for (size_t i = 0; i < report.configs.size(); ++i)
      steps.push_back({{"config", report.configs[i]},
                       {"seq_len", table.seq_len},
                       {"tokens", table.tokens},
                       {"sum_ms", table.step_ms(i)}});
  }
  const Ceilings& c = report.ceilings;
  print_json(nlohmann::ordered_json{{"device", report.device},
                                    {"ceilings",
                                     {{"tflop_per_s", c.flop_per_s / 1e12},
                                      {"tflop_per_s_from", c.flops_from},
                                      {"gb_per_s", c.bytes_per_s / 1e9},
                                      {"gb_per_s_from", c.bytes_from}}},
                                    {"samples", o.timing.samples},
                                    {"kernels", kernels},
                                    {"steps", steps}});
}

void print_table(const Report& report, const Table& table) {
  size_t op_width = 5, shape_width = 5;
  for (const Line& line : table.lines) {
    op_width = std::max(op_width, line.op.size());
    shape_width = std::max(shape_width, line.shape.size());
  }
  std::vector<std::string> names;
  for (const std::string& path : report.configs) names.push_back(std::filesystem::path(path).stem().string());
  const auto cells = [&](const std::string& op, const std::string& shape, const auto& cell_of_config) {
    print("%-*s  %-*s", int(op_width), op.c_str(), int(shape_width), shape.c_str());
    for (size_t i = 0; i < names.size(); ++i)
      print("  %*s", int(std::max<size_t>(6, names[i].size())), cell_of_config(i).c_str());
  };

  print("\nT = %lld, %lld tokens; calls in a step of one micro-batch\n",
        static_cast<long long>(table.seq_len), static_cast<long long>(table.tokens));
  cells("", "", [&](size_t i) { return names[i]; });
  print(" %10s %21s %10s %9s %9s %7s\n", "us", "range", "ns/token", "TFLOP/s", "GB/s", "% floor");
  for (const Line& line : table.lines) {
    cells(line.op, line.shape, [&](size_t i) { return std::to_string(line.repeats[i]); });
    const KernelTime& t = line.time;
    print(" %10.1f %10.1f-%10.1f %10.2f ", 1e3 * t.ms, 1e3 * t.ms_min, 1e3 * t.ms_max,
          1e6 * t.ms / double(table.tokens));
    line.flops > 0 ? print("%9.3f", line.tflop_per_s()) : print("%9s", "-");
    print(" %9.1f %7.1f\n", line.gb_per_s(), line.percent_of_floor());
  }
  char text[32];
  cells("sum of calls, ms", "", [&](size_t i) {
    std::snprintf(text, sizeof text, "%.2f", table.step_ms(i));
    return std::string(text);
  });
  print("\n");
}

int bench_kernels(const BenchKernelsArguments& o) {
  const Report report = measure(o);
  if (o.json) {
    print_object(o, report);
    return kDone;
  }
  const Ceilings& c = report.ceilings;
  print("%s\nfloor = max(FLOPs / %.2f TFLOP/s (%s), bytes / %.1f GB/s (%s))\n", report.device.c_str(),
        c.flop_per_s / 1e12, c.flops_from.c_str(), c.bytes_per_s / 1e9, c.bytes_from.c_str());
  for (const Table& table : report.tables) print_table(report, table);
  return kDone;
}

// --device and --precision are shorthands for config keys.
CLI::Option* add_runtime_option(CLI::App& sub, BenchKernelsArguments& o, const std::string& key,
                                const std::vector<std::string>& values) {
  return sub
      .add_option_function<std::string>(
          "--" + key,
          [&o, key](const std::string& value) { o.set.push_back("runtime." + key + "=" + value); },
          "Overrides runtime." + key + " of the config")
      ->check(CLI::IsMember(values));
}

}  // namespace

void add_bench_kernels_command(CLI::App& bench, RunCommand& run) {
  auto o = std::make_shared<BenchKernelsArguments>();
  CLI::App* sub = bench.add_subcommand(
      "kernels",
      "Time each operation of a training step, at the shapes of a config\n\nEach time is compared with the "
      "least time possible on this machine, by the operation's FLOPs and bytes.");
  sub->add_option("CONFIG", o->configs, "JSON file of a run; calls that several files share are timed once")
      ->type_name("FILE")
      ->required();
  add_set_option(*sub, o->set);
  add_runtime_option(*sub, *o, "device", {"auto", "cpu", "cuda"});
  add_runtime_option(*sub, *o, "precision", {"auto", "bf16", "fp32"});
  sub->add_option("--seq-len", o->seq_lens, "Sequence lengths, in tokens")
      ->delimiter(',')
      ->check(integer_in(1, 1 << 24))
      ->type_name("N,N,...")
      ->default_str("the first config's");
  sub->add_option("--tokens", o->tokens, "Tokens of a micro-batch")
      ->check(integer_in(1, int64_t(1) << 32))
      ->default_str("the first config's on a GPU, 1024 on the CPU");
  sub->add_option("--only", o->only, "Operations to time, such as attention_fwd")
      ->delimiter(',')
      ->type_name("NAME,NAME,...")
      ->default_str("all");
  sub->add_option("--samples", o->timing.samples, "Samples per call; their median is printed")
      ->check(integer_in(1))
      ->capture_default_str();
  sub->add_option("--sample-ms", o->timing.sample_ms,
                  "Milliseconds per sample, filled with repeated launches")
      ->check(number_from(0))
      ->type_name("MS")
      ->capture_default_str();
  sub->add_option("--peak-tflops", o->peak_tflops, "Peak TFLOP/s to compare with")
      ->check(number_from(0))
      ->type_name("TFLOP/S")
      ->default_str("measured on a large matrix multiplication");
  sub->add_option("--peak-gb", o->peak_gb_per_s, "Peak memory bandwidth to compare with")
      ->check(number_from(0))
      ->type_name("GB/S")
      ->default_str("measured on a large copy");
  add_json_flag(*sub, o->json);
  sub->footer(
      "Examples:\n"
      "  saslm bench kernels my.json\n"
      "  saslm bench kernels mha.json sas.json --only attention_fwd,attention_bwd --seq-len 32,64\n");
  sub->callback([o, &run] { run = [o] { return bench_kernels(*o); }; });
}

}  // namespace saslm
