#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <string>

#include "core/arena.h"
#include "ops/memory_limit.h"
#include "ops/ops.h"

namespace saslm {
namespace {

template <class A>
void add_sum(Stream, double* total, Vec<const A> x) {
  double sum = 0;
  for (int64_t i = 0; i < x.size; ++i) sum += double(x[i]);
  *total += sum;
}

// Of what this process may have in addresses (ulimit -v); 0 when that is not limited.
int64_t addresses_left() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return 0;
  int64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return std::max(int64_t(limit.rlim_cur) - pages * ::sysconf(_SC_PAGESIZE), int64_t(1));
}

// Of the machine and of this process's control group, which the ranks divide among them, or of its addresses,
// whichever is least.
int64_t available_bytes(int ranks) {
  int64_t machine = 0;
  std::ifstream meminfo("/proc/meminfo");
  for (std::string key, rest; meminfo >> key && std::getline(meminfo, rest);)
    if (key == "MemAvailable:") machine = std::stoll(rest) * 1024;
  return tighter(tighter(machine, group_memory_limit()) / ranks, addresses_left());
}

std::shared_ptr<const Stream> open_stream() {
  return std::make_shared<Stream>();
}

// Of nothing there may be no address, which these two must not be given.
void copy(Stream, void* to, const void* from, size_t bytes) {
  if (bytes > 0) std::memcpy(to, from, bytes);
}
void zero(Stream, void* to, size_t bytes) {
  if (bytes > 0) std::memset(to, 0, bytes);
}

}  // namespace

template <class T>
const Ops<T>& cpu_ops() {
  static constexpr Ops<T> kOps = {
      .embedding_fwd = cpu::embedding_fwd<T>,
      .embedding_bwd = cpu::embedding_bwd<T>,
      .norm_fwd = cpu::norm_fwd<T>,
      .norm_bwd = cpu::norm_bwd<T>,
      .matmul_fwd = cpu::matmul_fwd<T>,
      .matmul_bwd = cpu::matmul_bwd<T>,
      .activation_fwd = cpu::activation_fwd<T>,
      .activation_bwd = cpu::activation_bwd<T>,
      .rope_fill = cpu::rope_fill<T>,
      .rope = cpu::rope<T>,
      .repeat_heads_fwd = cpu::repeat_heads_fwd<T>,
      .repeat_heads_bwd = cpu::repeat_heads_bwd<T>,
      .tensor_product_fwd = cpu::tensor_product_fwd<T>,
      .tensor_product_bwd = cpu::tensor_product_bwd<T>,
      .head_embedding_fwd = cpu::head_embedding_fwd<T>,
      .head_embedding_bwd = cpu::head_embedding_bwd<T>,
      .sas_fwd = cpu::sas_fwd<T>,
      .sas_bwd = cpu::sas_bwd<T>,
      .attention_fwd = cpu::attention_fwd<T>,
      .attention_bwd = cpu::attention_bwd<T>,
      .head_gates_fwd = cpu::head_gates_fwd<T>,
      .head_gates_bwd = cpu::head_gates_bwd<T>,
      .cross_entropy = cpu::cross_entropy<T>,
      .adamw = cpu::adamw<T>,
      .accumulate = cpu::accumulate<Accum<T>>,
      .block_squares = cpu::block_squares<Accum<T>>,
      .add_sum = add_sum<Accum<T>>,
      .allocate = allocate_host,
      .available_bytes = available_bytes,
      .open_stream = open_stream,
      .follow = [](Stream, Stream) {},
      .time_products = [](Stream, const std::string&) { return true; },
      .product_table = [](Stream) { return std::string(); },
      .limits = [](Stream) { return simt::DeviceLimits{}; },
      .avoid = [](Stream, uint32_t) {},
      .begin_range = nullptr,
      .end_range = nullptr,
      .host_memory = true,
      .device = "cpu",
      .platform = [] { return Platform(); },
      .copy_in = copy,
      .copy_out = copy,
      .zero = zero,
  };
  return kOps;
}

template const Ops<float>& cpu_ops<float>();
template const Ops<double>& cpu_ops<double>();

}  // namespace saslm
