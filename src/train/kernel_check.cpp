#include "train/kernel_check.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <set>

namespace saslm {

std::vector<std::string> KernelVerdict::kernels() const {
  std::set<std::string> names;
  for (const Wrong& w : wrong) names.insert(w.kernel);
  return {names.begin(), names.end()};
}

nlohmann::ordered_json to_json(const KernelVerdict& verdict) {
  if (verdict.calls == 0) return nullptr;
  nlohmann::ordered_json wrong = nlohmann::ordered_json::array();
  for (const KernelVerdict::Wrong& w : verdict.wrong)
    wrong.push_back({{"kernel", w.kernel}, {"call", w.call}, {"why", w.why}});
  return {{"calls", verdict.calls}, {"seconds", verdict.seconds}, {"kept", verdict.kept}, {"wrong", wrong}};
}

KernelVerdict agreed(const Communicator& comm, KernelVerdict mine) {
  if (comm.size() == 1) return mine;
  nlohmann::json told = nlohmann::json::array();
  for (const KernelVerdict::Wrong& w : mine.wrong) told.push_back({w.kernel, w.call, w.why});
  mine.wrong.clear();
  int64_t rank = 0;
  for (const std::string& text : gather_texts(comm, told.dump(), "self-check of the kernels")) {
    for (const auto& w : nlohmann::json::parse(text)) {
      const KernelVerdict::Wrong wrong{w[0], w[1], w[2]};
      if (std::find_if(mine.wrong.begin(), mine.wrong.end(), [&](const KernelVerdict::Wrong& other) {
            return other.kernel == wrong.kernel && other.call == wrong.call;
          }) == mine.wrong.end())
        mine.wrong.push_back(
            {wrong.kernel, wrong.call, "on rank " + std::to_string(rank) + ": " + wrong.why});
    }
    ++rank;
  }
  return mine;
}

KernelVerdict checked_by_all(const Communicator& comm, const Config& config, const CheckKernels& check) {
  if (!check) return {};
  return agreed(comm, config.runtime.selfcheck ? check(config) : KernelVerdict{});
}

std::string summary(const KernelVerdict& verdict) {
  char text[160];
  const auto calls = static_cast<long long>(verdict.calls);
  const char* const found = verdict.wrong.empty()
                                ? "every kernel is right"
                                : "what is wrong is not used, and every call has a right kernel";
  if (verdict.kept)
    std::snprintf(text, sizeof text, "self-check: %s (%lld calls, as found before on such a card)", found,
                  calls);
  else
    std::snprintf(text, sizeof text, "self-check: %s (%lld calls, %.1f s)", found, calls, verdict.seconds);
  return text;
}

}  // namespace saslm
