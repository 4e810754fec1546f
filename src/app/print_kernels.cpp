#include "app/print_kernels.h"

#include <nlohmann/json.hpp>
#include <set>

#include "app/device.h"
#include "app/terminal.h"
#include "bench/kernel_paths.h"
#include "core/printable.h"

namespace saslm {
namespace {

std::vector<KernelPath> kernels_here(const Config& config) {
  const Device device = intended_device(config.runtime);
  const std::variant<Gpu, std::string> found = device.gpu ? find_gpu() : std::string();
  if (!std::holds_alternative<Gpu>(found)) return {};
  const simt::DeviceLimits card = std::get<Gpu>(found).limits;
  return device.bf16 ? kernel_paths<bf16>(config, card, 0) : kernel_paths<float>(config, card, 0);
}

}  // namespace

nlohmann::ordered_json kernels_json(const Config& config) {
  nlohmann::ordered_json all;
  for (const KernelPath& path : kernels_here(config))
    all.push_back(
        {{"call", path.call},
         {"kernel", path.variant},
         {"text", path.text},
         {"slow", path.why_slow.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(path.why_slow)}});
  return all;
}

void print_kernels(const std::vector<Planned>& plans) {
  std::set<std::string> said;
  for (const Planned& p : plans)
    for (const KernelPath& path : kernels_here(p.config)) {
      if (said.empty()) print("kernels (operations with several implementations)\n");
      if (!said.insert(path.call).second) continue;
      print("  %s: %s\n", printable(path.call).c_str(), path.text.c_str());
      if (!path.why_slow.empty()) print("  warning: slow kernel: %s\n", path.why_slow.c_str());
    }
}

}  // namespace saslm
