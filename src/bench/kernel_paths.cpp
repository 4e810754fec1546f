#include "bench/kernel_paths.h"

#include "bench/recording.h"

namespace saslm {
namespace {

// A queue whose calls are only asked which kernel they would get; calls find it in Stream::backend.
struct Asked {
  simt::DeviceLimits card;
  KernelPath* answer;
};

template <class Call>
void ask(Stream stream, const Call& call) {
  const Asked& asked = *static_cast<const Asked*>(stream.backend);
  const cuda::Path path = cuda::choose(cuda::paths_of(asked.card, call), stream);
  asked.answer->variant = cuda::name_of(path.variant);
  asked.answer->text = path.text();
  if (path.slow()) asked.answer->why_slow = cuda::why_slow(asked.card, call);
  if (path.slow() && asked.answer->why_slow.empty()) asked.answer->why_slow = "its fast kernels are avoided";
}

template <class T>
Ops<T> asking_ops() {
  Ops<T> ops{};
  ops.attention_fwd = ask<AttentionFwd<T>>;
  ops.attention_bwd = ask<AttentionBwd<T>>;
  ops.sas_fwd = ask<SasFwd<T>>;
  ops.sas_bwd = ask<SasBwd<T>>;
  return ops;
}

bool has_paths(const std::string& op) {
  return op.starts_with("attention_") || op.starts_with("sas_");
}

}  // namespace

template <class T>
std::vector<KernelPath> kernel_paths(const Config& config, const simt::DeviceLimits& card, uint32_t avoided) {
  static const Ops<T> kAsking = asking_ops<T>();
  std::vector<KernelPath> paths;
  for (const KernelCall<T>& call : record_calls<T>({config})) {
    if (!has_paths(call.op)) continue;
    KernelPath path;
    path.call = call.op + " " + call.shape;
    Asked asked{card, &path};
    const Packing packing(call.touched);
    const auto block = reserve_addresses(packing.bytes());
    call.moved_to(packing, block.get())(kAsking, {.backend = &asked, .avoided = avoided});
    paths.push_back(std::move(path));
  }
  return paths;
}

template std::vector<KernelPath> kernel_paths<float>(const Config&, const simt::DeviceLimits&, uint32_t);
template std::vector<KernelPath> kernel_paths<bf16>(const Config&, const simt::DeviceLimits&, uint32_t);

}  // namespace saslm
