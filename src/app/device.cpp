#include "app/device.h"

#include <omp.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iostream>

#include "app/command.h"
#include "comm/nccl.h"
#include "comm/rank_gpu.h"
#include "core/error.h"
#include "ops/cpu_limit.h"
#include "ops/nvidia_driver.h"

namespace saslm {

void use_short_spinning(char** argv) {
  for (const char* set : {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"})
    if (std::getenv(set) != nullptr) return;
  setenv("GOMP_SPINCOUNT", "3000", 1);  // GCC's runtime, in iterations
  setenv("KMP_BLOCKTIME", "0", 1);      // Clang's, in milliseconds
  std::error_code unknown;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", unknown);  // keeps our name in `ps`
  if (!unknown) execv(program.c_str(), argv);
  // If this fails, the run is only slower.
}

Device intended_device(const RuntimeConfig& runtime) {
  const bool gpu = runtime.device == DeviceKind::cuda ||
                   (runtime.device == DeviceKind::automatic && std::holds_alternative<Gpu>(find_gpu()));
  return {.gpu = gpu, .bf16 = gpu && runtime.precision != Precision::fp32, .description = {}};
}

Gpu gpu_for(const LaunchedAs& launched) {
  const int count = gpu_count();
  const std::variant<Gpu, std::string> found = find_gpu(count > 0 ? gpu_of_rank(launched, count) : 0);
  if (const auto* why = std::get_if<std::string>(&found))
    throw ConfigError("runtime.device is cuda, but " + *why);
  return std::get<Gpu>(found);
}

constexpr int kMaxThreads = 1024;  // as runtime.threads
constexpr int kFewThreads = 4;     // this many on one CPU cost little

namespace {

// Threads without their own CPU wait for each other at the end of every loop: a hundred on two CPUs take 70
// times as long as two. Results do not depend on the number, so far too many are reduced.
void choose_threads(const RuntimeConfig& runtime, const LaunchedAs& launched) {
  const char* const number = std::getenv("OMP_NUM_THREADS");
  const bool said = runtime.threads > 0 || (number != nullptr && *number != '\0');
  const int ranks_here =
      !said || launched.listener >= 0 ? launched.local_size : 1;  // ranks that share the CPUs
  const int cpus = std::max(1, usable_cpus() / ranks_here), limit = omp_get_thread_limit();
  const int useful = std::min(cpus, limit);
  if (!said && (launched.local_size > 1 || omp_get_max_threads() > useful)) omp_set_num_threads(useful);
  if (runtime.threads > 0) omp_set_num_threads(int(runtime.threads));
  const int wanted = omp_get_max_threads();
  if (wanted > kMaxThreads)
    throw ConfigError("OMP_NUM_THREADS requests " + std::to_string(wanted) + " threads; wanted 1 to " +
                      std::to_string(kMaxThreads));
  if (wanted <= useful) return;
  const bool fewer = wanted > limit || wanted > std::max(kFewThreads, 2 * useful);
  if (fewer) omp_set_num_threads(useful);
  if (launched.rank != 0) return;
  const std::string why = limit < cpus ? "OMP_THREAD_LIMIT allows " + std::to_string(limit)
                                       : (ranks_here > 1 ? "each rank" : "this process") +
                                             (" may use " + std::to_string(cpus)) +
                                             (cpus == 1 ? " CPU" : " CPUs") + " (affinity, control group)";
  std::cerr << std::string("warning: ") +
                   (runtime.threads > 0 ? "runtime.threads is " : "OMP_NUM_THREADS is ") +
                   std::to_string(wanted) + ", but " + why + ": " +
                   (fewer ? std::to_string(useful) + " are used" : "more threads are slower") +
                   "; results are the same\n";
}

// If a run uses the CPU although there is a GPU, and nobody requested that, the installation is probably
// wrong.
void warn_of_idle_gpu(const RuntimeConfig& runtime, const LaunchedAs& launched) {
  if (launched.rank != 0 || runtime.device != DeviceKind::automatic || gpus_are_hidden()) return;
  const auto found = find_gpu();
  const auto* const why = std::get_if<std::string>(&found);
  if (why != nullptr && nvidia_driver().gpu_present)
    std::cerr << "warning: this machine has an NVIDIA GPU, but the run uses the CPU: " << *why
              << " (set runtime.device=cpu to silence this)\n";
}

}  // namespace

Device choose_device(const RuntimeConfig& runtime, const LaunchedAs& launched) {
  choose_threads(runtime, launched);
  Device device = intended_device(runtime);
  if (device.gpu) {
    const Gpu gpu = gpu_for(launched);
    use_gpu(gpu.ordinal);
    device.description = "cuda, " + gpu.name + ", " + (device.bf16 ? "bf16" : "fp32");
    device.gpu_id = gpu.id;
    return device;
  }
  warn_of_idle_gpu(runtime, launched);
  if (runtime.precision == Precision::bf16)
    throw ConfigError("runtime.precision is bf16, which the CPU does not support; set it to fp32 or auto");
  device.description = "cpu, fp32, " + std::to_string(omp_get_max_threads()) + " threads";
  return device;
}

std::unique_ptr<Communicator> join_devices(std::unique_ptr<HostRanks> host, const Device& device) {
  if (!device.gpu) return host;
  check_gpus_differ(*host, device.gpu_id);
  return join_nccl(std::move(host),
                   {.when_stuck = [](const std::exception& error) { std::_Exit(report(error)); }});
}

}  // namespace saslm
