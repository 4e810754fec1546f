#include "check/selfcheck.h"

#include "bench/recording.h"
#include "checkpoint/hash.h"
#include "core/error.h"
#include "ops/kernel_names.h"
#include "train/now_s.h"
#include "train/run_state.h"

namespace saslm {
namespace {

constexpr const char* kWhatToDo =
    "; in training this would only show as a worse loss. Another driver, toolkit or GPU may compute it "
    "correctly; `saslm selfcheck CONFIG` lists everything wrong; runtime.selfcheck=false trains anyway";

// What is wrong with the reference, which must be right; "" where it is. Others are only not used.
std::string judge(const std::string& call, const std::vector<PathResult>& results, KernelVerdict& verdict) {
  const PathResult& reference = results.back();
  if (!reference.why.empty())
    return "self-check: " + call + (reference.path.empty() ? "" : ", by " + reference.path) +
           ", gives wrong results on this machine: " + reference.why + kWhatToDo;
  for (const PathResult& result : results)
    if (!result.why.empty()) verdict.wrong.push_back({result.path, call, result.why});
  return "";
}

}  // namespace

template <class T>
VerdictKey verdict_key(const Ops<T>& ops, const std::vector<KernelCall<T>>& calls) {
  std::string all;
  for (const KernelCall<T>& call : calls) all += call.key + "\n";
  const ComputedBy by = computed_by(ops);
  return {{"device", by.device},
          {"precision", by.precision},
          {"build", by.build},
          {"card", by.platform.gpu},
          {"capability", by.platform.capability},
          {"driver", by.platform.driver},
          {"runtime", by.platform.runtime},
          {"library", by.platform.library},
          {"calls", hash_hex(bytes_of(all))}};
}

template <class T>
KernelVerdict selfcheck(const Config& config, const Ops<T>& ops, const SelfcheckOptions& options) {
  const double begin_s = now_s();
  const std::vector<KernelCall<T>> calls = record_run<T>(config);
  const Verdicts verdicts(options.folder, verdict_key(ops, calls));
  KernelVerdict verdict;
  if (!options.again)
    if (const auto kept = verdicts.find()) {
      if (!kept->unfinished) return kept->verdict;
      verdict.wrong = kept->verdict.wrong;
    }
  verdict.calls = int64_t(calls.size());
  std::string first_failure;
  for (const KernelCall<T>& call : calls) {
    const std::string name = call.op + " " + call.shape;
    try {
      const auto results = check_call(call, ops, kernels_named(verdict.kernels()));
      if (options.each) options.each(call.op, call.shape, results);
      const std::string failure = judge(name, results, verdict);
      if (first_failure.empty()) first_failure = failure;
      if (!failure.empty() && !options.to_the_end) break;
    } catch (const DeviceLost& lost) {
      if (lost.kernel.empty()) throw MachineError("self-check: " + name + ": " + lost.what());
      verdict.wrong.push_back({lost.kernel, name, lost.what()});
      verdicts.keep(verdict, true);
      throw MachineError("self-check: " + name + ", by " + lost.kernel + ": " + lost.what() +
                         (verdicts.path().empty() ? "" : "; the same command continues without that kernel"));
    }
  }
  if (!first_failure.empty()) throw MachineError(first_failure);
  verdict.seconds = now_s() - begin_s;
  verdicts.keep(verdict, false);
  return verdict;
}

template VerdictKey verdict_key(const Ops<float>&, const std::vector<KernelCall<float>>&);
template VerdictKey verdict_key(const Ops<bf16>&, const std::vector<KernelCall<bf16>>&);
template KernelVerdict selfcheck(const Config&, const Ops<float>&, const SelfcheckOptions&);
template KernelVerdict selfcheck(const Config&, const Ops<bf16>&, const SelfcheckOptions&);

}  // namespace saslm
