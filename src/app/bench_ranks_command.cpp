#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "app/command.h"
#include "app/console.h"
#include "app/device.h"
#include "app/launch_ranks.h"
#include "app/options.h"
#include "app/print_json.h"
#include "app/terminal.h"
#include "bench/time_ranks.h"
#include "core/error.h"

namespace saslm {
namespace {

struct BenchRanksArguments {
  int64_t ranks = 0, samples = 20;  // ranks 0: the launcher's
  std::vector<int64_t> mib = {1, 4, 64};
  std::string device = "auto";
  bool json = false;
};

double gb_per_s(const RanksTime& time, const SumTime& sum) {
  return double(time.bytes) / sum.ms / 1e6;
}

nlohmann::ordered_json as_json(const RanksTime& time, const SumTime& sum) {
  return {{"ms", sum.ms}, {"ms_min", sum.ms_min}, {"ms_max", sum.ms_max}, {"gb_per_s", gb_per_s(time, sum)}};
}

void print_sums(const std::string& device, const Communicator& comm, const std::vector<RanksTime>& times) {
  const nlohmann::ordered_json null;  // JSON on both sides of ?:, for its 3.10 (Ubuntu 22.04)
  nlohmann::ordered_json sums = nlohmann::ordered_json::array();
  for (const RanksTime& time : times)
    sums.push_back({{"bytes", time.bytes},
                    {"tree", as_json(time, time.tree)},
                    {"library", time.has_library ? as_json(time, time.library) : null}});
  print_json(nlohmann::ordered_json{{"device", device}, {"ranks", comm.size()}, {"sums", sums}});
}

void print_sums_table(const std::string& device, const Communicator& comm,
                      const std::vector<RanksTime>& times) {
  print("%s, on each of %d ranks\n%9s  %30s  %30s\n%9s", device.c_str(), comm.size(), "", "fixed tree",
        "library's all-reduce", "MiB");
  for (int column = 0; column < 2; ++column) print("  %8s %12s %8s", "ms", "range", "GB/s");
  print("\n");
  for (const RanksTime& time : times) {
    print("%9.1f", double(time.bytes) / double(1 << 20));
    for (const SumTime* sum : {&time.tree, &time.library}) {
      if (sum == &time.library && !time.has_library)
        print("  %8s", "-");
      else
        print("  %8.3f %5.2f-%6.2f %8.2f", sum->ms, sum->ms_min, sum->ms_max, gb_per_s(time, *sum));
    }
    print("\n");
  }
}

int bench_ranks(const BenchRanksArguments& o) {
  const LaunchedAs launched = launched_as();
  if (o.ranks > 1 && !launched.launched) return launch_ranks(int(o.ranks));
  if (o.ranks > 0) check_not_launched_twice(launched, o.ranks, "--ranks");
  if (launched.size < 2)
    throw ConfigError(
        "bench ranks: wanted two ranks or more, got one; give --ranks 2, or use a launcher such as torchrun");
  RuntimeConfig runtime;
  runtime.device = o.device == "cpu"    ? DeviceKind::cpu
                   : o.device == "cuda" ? DeviceKind::cuda
                                        : DeviceKind::automatic;
  std::unique_ptr<HostRanks> host = join_ranks(launched, runtime.comm_timeout_s, {.say = note_aside});
  const Device device = choose_device(runtime, launched);
  const std::unique_ptr<Communicator> comm = join_devices(std::move(host), device);
  std::vector<RanksTime> times;
  on_device(device, [&](const auto& ops) {
    for (const int64_t mib : o.mib) times.push_back(time_ranks(ops, *comm, mib << 20, o.samples));
  });
  if (comm->first()) (o.json ? print_sums : print_sums_table)(device.description, *comm, times);
  return kDone;
}

}  // namespace

void add_bench_ranks_command(CLI::App& bench, RunCommand& run) {
  auto o = std::make_shared<BenchRanksArguments>();
  CLI::App* sub = bench.add_subcommand(
      "ranks",
      "Time the all-reduce of gradients over ranks\n\nTwo are timed: saslm's fixed tree, bit-identical for "
      "any number of ranks, and the all-reduce of MPI or NCCL if one of them joins the ranks.");
  sub->add_option("--ranks", o->ranks, "Number of processes on this machine; a power of two")
      ->check(integer_in(2, 1024))
      ->default_str("the launcher's");
  sub->add_option("--mib", o->mib, "Sizes of the gradients, in MiB")
      ->delimiter(',')
      ->check(integer_in(1, 1 << 16))
      ->type_name("MIB,MIB,...")
      ->capture_default_str();
  add_device_option(*sub, o->device);
  sub->add_option("--samples", o->samples, "Samples of each all-reduce; their median is printed")
      ->check(integer_in(1))
      ->capture_default_str();
  add_json_flag(*sub, o->json);
  sub->footer(
      "Examples:\n"
      "  saslm bench ranks --ranks 2 --mib 1,4\n"
      "\n"
      "See also: saslm help ranks\n");
  sub->callback([o, &run] { run = [o] { return bench_ranks(*o); }; });
}

}  // namespace saslm
