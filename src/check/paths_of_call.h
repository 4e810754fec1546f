// The kernels that can compute a call, the fastest first.
#pragma once
#include <string>
#include <vector>

#include "kernels/cuda/paths.h"
#include "ops/ops.h"

namespace saslm {

struct CallPath {
  std::string name;      // "" if there is only one
  uint32_t variant = 0;  // as for Ops::avoid
  uint32_t others = 0;   // what a stream must avoid to use this one
  bool is_last = true;   // without tensor cores: the reference for others
};

template <class Args>
concept HasPaths = requires(const Args& a) {
  cuda::paths_of(simt::DeviceLimits(), a);
};

template <class T, class Args>
std::vector<CallPath> paths_of_call(const Ops<T>& ops, Stream stream, const Args& args) {
  const simt::DeviceLimits card = ops.limits(stream);
  std::vector<CallPath> all;
  if constexpr (HasPaths<Args>)
    if (card.shared_bytes > 0)  // not on a CPU
      for (const cuda::Path& path : cuda::paths_of(card, args)) {
        if (!all.empty()) all.back().is_last = false;
        all.push_back({cuda::name_of(path.variant), cuda::bit_of(path.variant), cuda::only(path.variant)});
      }
  if (all.empty()) all.emplace_back();
  return all;
}

}  // namespace saslm
