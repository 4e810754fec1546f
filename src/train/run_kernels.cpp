#include "train/run_kernels.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "core/bf16.h"
#include "ops/kernel_names.h"
#include "train/agreement.h"
#include "train/run_state.h"

namespace saslm {

template <class T>
std::vector<std::string> avoid_kernels(const Engine<T>& engine, const KernelVerdict& verdict,
                                       std::vector<std::string>& avoided, TrainObserver& observer) {
  std::vector<std::string> lines;
  for (const std::string& name : verdict.kernels()) {
    if (std::find(avoided.begin(), avoided.end(), name) != avoided.end()) continue;
    lines.push_back(name + ": wrong here, and not used");
    avoided.push_back(name);
  }
  engine.ops().avoid(engine.stream(), kernels_named(avoided));
  for (const KernelVerdict::Wrong& w : verdict.wrong)
    observer.warning("self-check: " + w.kernel + " is not used: " + w.call + ": " + w.why);
  if (verdict.calls > 0) observer.note(summary(verdict));
  return lines;
}

template <class T>
std::vector<KernelPath> named_kernels(const Engine<T>& engine, const Config& config, const NameKernels& name,
                                      TrainObserver& observer) {
  const simt::DeviceLimits card = engine.ops().limits(engine.stream());
  if (!name || card.shared_bytes == 0) return {};
  const std::vector<KernelPath> paths = name(config, card, engine.stream().avoided);
  for (const KernelPath& path : paths) {
    if (path.why_slow.empty())
      observer.note(path.call + ": " + path.text);
    else
      observer.warning(path.call + " is slow (" + path.text + "): " + path.why_slow);
  }
  return paths;
}

void tell_platform(const Communicator& comm, const Platform& platform, const Peak& peak,
                   TrainObserver& observer) {
  for (const std::string& line : not_as_first(comm, to_json(platform)))
    observer.warning(line + "; the last bits depend on it");
  if (peak.from.empty()) return;
  char mfu[64] = "no MFU";
  if (peak.tflops > 0)
    std::snprintf(mfu, sizeof mfu, "MFU is measured against %g TFLOP/s%s", peak.tflops,
                  comm.size() > 1 ? " a rank" : "");
  observer.note(std::string(mfu) + (peak.tflops > 0 ? " (" + peak.from + ")" : ": " + peak.from));
}

template std::vector<std::string> avoid_kernels(const Engine<float>&, const KernelVerdict&,
                                                std::vector<std::string>&, TrainObserver&);
template std::vector<std::string> avoid_kernels(const Engine<bf16>&, const KernelVerdict&,
                                                std::vector<std::string>&, TrainObserver&);
template std::vector<KernelPath> named_kernels(const Engine<float>&, const Config&, const NameKernels&,
                                               TrainObserver&);
template std::vector<KernelPath> named_kernels(const Engine<bf16>&, const Config&, const NameKernels&,
                                               TrainObserver&);

}  // namespace saslm
