// `bench kernels` of a program over the PTX machine, in place of src/app/bench_kernels_command.cpp: a time
// says nothing there, what was executed does. Each call of the training step is made once.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "app/command.h"
#include "app/device.h"
#include "app/options.h"
#include "app/print_json.h"
#include "app/terminal.h"
#include "bench/recording.h"
#include "bench/time_kernels.h"
#include "core/error.h"
#include "ptx/machine/executed.h"

namespace saslm {
namespace {

constexpr const char* kHeading =
    "COUNTS of executed PTX, not times: warp instructions and memory traffic of one launch of each call";
constexpr const char* kClasses[] = {"mma",       "ldmatrix",  "ld.shared", "st.shared", "cp.async",
                                    "ld.global", "st.global", "ex2",       "bar"};

struct Options {
  std::vector<std::string> configs, set, only, of_times;
  std::vector<int64_t> seq_lens;
  int64_t tokens = 0;
  bool json = false;
};

struct Line {
  std::string op, shape;
  int64_t seq_len, tokens;
  ptx::Executed counts;
};

ptx::Executed difference(ptx::Executed after, const ptx::Executed& before) {
  after.launches -= before.launches;
  after.blocks -= before.blocks;
  after.instructions -= before.instructions;
  after.conflicts -= before.conflicts;
  after.sectors -= before.sectors;
  for (const auto& [name, count] : before.classes) after.classes[name] -= count;
  return after;
}

template <class T>
void count_calls(const Options& o, const std::vector<Config>& configs, const Ops<T>& ops,
                 std::vector<Line>& lines) {
  const TrainConfig& train = configs[0].train;
  for (const KernelCall<T>& call : record_calls<T>(configs)) {
    if (!o.only.empty() && std::find(o.only.begin(), o.only.end(), call.op) == o.only.end()) continue;
    const ptx::Executed before = ptx::executed();
    run_once(call, ops);
    lines.push_back({call.op, call.shape, train.seq_len, train.micro_batch * train.seq_len,
                     difference(ptx::executed(), before)});
  }
}

std::vector<Line> count(const Options& o, std::string& device_name) {
  std::vector<Config> configs;
  for (const std::string& path : o.configs) configs.push_back(load_config(path, o.set));
  check_operation_names(o.only);
  const Device device = choose_device(configs[0].runtime);
  device_name = device.description;
  if (!device.gpu)
    throw ConfigError(
        "bench kernels of this program counts what GPU code executes, and runtime.device is cpu; wanted "
        "--device cuda (times of the CPU: saslm bench kernels)");
  ptx::count_conflicts();
  std::vector<Line> lines;
  on_device(device, [&]<class T>(const Ops<T>& ops) {
    const std::vector<int64_t> lengths =
        o.seq_lens.empty() ? std::vector{configs[0].train.seq_len} : o.seq_lens;
    for (const int64_t length : lengths)
      count_calls(o, at_length(configs, length, o.tokens > 0 ? o.tokens : length), ops, lines);
  });
  if (lines.empty())
    throw ConfigError("--only: a training step of these configs calls none of the operations listed");
  return lines;
}

void print_object(const std::string& device, const std::vector<Line>& lines) {
  nlohmann::ordered_json kernels = nlohmann::ordered_json::array();
  for (const Line& line : lines)
    kernels.push_back({{"op", line.op},
                       {"shape", line.shape},
                       {"seq_len", line.seq_len},
                       {"tokens", line.tokens},
                       {"launches", line.counts.launches},
                       {"blocks", line.counts.blocks},
                       {"instructions", line.counts.instructions},
                       {"classes", line.counts.classes},
                       {"shared_conflicts", line.counts.conflicts},
                       {"global_sectors", line.counts.sectors}});
  print_json(nlohmann::ordered_json{{"what", kHeading}, {"device", device}, {"kernels", kernels}});
}

void print_table(const std::string& device, const std::vector<Line>& lines) {
  size_t op = 4, shape = 5;
  for (const Line& line : lines)
    op = std::max(op, line.op.size()), shape = std::max(shape, line.shape.size());
  print("%s\n%s; products by cuBLASLt are the host's and execute no PTX\n\n%-*s  %-*s %8s %8s %12s", kHeading,
        device.c_str(), int(op), "", int(shape), "", "launches", "blocks", "instructions");
  for (const char* name : kClasses) print(" %10s", name);
  print(" %10s %10s\n", "conflicts", "sectors");
  for (const Line& line : lines) {
    const auto number = [](uint64_t count) { return static_cast<unsigned long long>(count); };
    print("%-*s  %-*s %8llu %8llu %12llu", int(op), line.op.c_str(), int(shape), line.shape.c_str(),
          number(line.counts.launches), number(line.counts.blocks), number(line.counts.instructions));
    for (const char* name : kClasses) print(" %10llu", number(line.counts.classes.at(name)));
    print(" %10llu %10llu\n", number(line.counts.conflicts), number(line.counts.sectors));
  }
}

int count_kernels(const Options& o) {
  if (!o.of_times.empty())
    throw ConfigError(
        "--samples, --sample-ms, --peak-tflops and --peak-gb are of times, and this program counts what "
        "is executed; leave them out");
  std::string device;
  const std::vector<Line> lines = count(o, device);
  o.json ? print_object(device, lines) : print_table(device, lines);
  return kDone;
}

}  // namespace

void add_bench_kernels_command(CLI::App& bench, RunCommand& run) {
  auto o = std::make_shared<Options>();
  CLI::App* sub = bench.add_subcommand(
      "kernels",
      "Count what each operation that training calls executes of its PTX, at its shapes\n\n"
      "Over the PTX machine there are no times; warp instructions, bank conflicts and sectors are exact.");
  sub->add_option("CONFIG", o->configs, "JSON file of a run; what several have in common is counted once")
      ->type_name("FILE")
      ->required();
  add_set_option(*sub, o->set);
  for (const std::string key : {"device", "precision"})
    sub->add_option_function<std::string>(
        "--" + key, [o, key](const std::string& value) { o->set.push_back("runtime." + key + "=" + value); },
        "Overrides runtime." + key + " of the config");
  sub->add_option("--seq-len", o->seq_lens, "Sequence lengths, in tokens")
      ->delimiter(',')
      ->check(integer_in(1, 1 << 24))
      ->type_name("N,N,...")
      ->default_str("the first config's");
  sub->add_option("--tokens", o->tokens, "Tokens of a micro-batch")
      ->check(integer_in(1, int64_t(1) << 32))
      ->default_str("one sequence");
  sub->add_option("--only", o->only, "Operations to count, such as attention_fwd")
      ->delimiter(',')
      ->type_name("NAME,NAME,...")
      ->default_str("all");
  for (const char* name : {"--samples", "--sample-ms", "--peak-tflops", "--peak-gb"})
    sub->add_option(name, o->of_times, "Refused: nothing is timed");
  add_json_flag(*sub, o->json);
  sub->footer("Examples:\n  saslm_ptx bench kernels my.json --device cuda\n");
  sub->callback([o, &run] { run = [o] { return count_kernels(*o); }; });
}

}  // namespace saslm
