#include "bench/time_kernels.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "core/dims.h"

namespace saslm {
namespace {

template <class T>
void fill(const Ops<T>& ops, Stream stream, std::byte* to, const Touched& touched) {
  if (!touched.draw) return;
  const int64_t size = touched.bytes / touched.element_bytes;
  const int64_t piece = std::min<int64_t>((1 << 20) / touched.group * touched.group, size);
  std::vector<std::byte> host(size_t(piece * touched.element_bytes));
  touched.draw(host.data(), 0, piece);
  for (int64_t first = 0; first < size; first += piece) {  // the same draws over and over: quick to make
    const int64_t count = std::min(piece, size - first);
    ops.copy_in(stream, to + first * touched.element_bytes, host.data(),
                size_t(count * touched.element_bytes));
  }
}

double milliseconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

// A call on several copies of its memory, filled, and a queue for it.
template <class T>
class CopiesOfCall {
 public:
  CopiesOfCall(const KernelCall<T>& call, const Ops<T>& ops, int64_t copies)
      : ops_(ops), queue_(ops.open_stream()) {
    const Packing packing(call.touched);
    block_ = ops.allocate(packing.bytes() * copies);
    for (int64_t copy = 0; copy < copies; ++copy) {
      std::byte* own = block_.get() + copy * packing.bytes();
      for (const Touched& touched : call.touched) fill(ops, *queue_, packing.at(own, touched.begin), touched);
      launches_.push_back(call.moved_to(packing, own));
    }
  }

  // Launches it so many times, on one copy after another, and waits; milliseconds of each.
  double run(int64_t count) {
    const auto begin = std::chrono::steady_clock::now();
    for (int64_t i = 0; i < count; ++i, next_ = (next_ + 1) % launches_.size())
      launches_[next_](ops_, *queue_);
    std::byte done;
    ops_.copy_out(*queue_, &done, block_.get(), 1);
    return milliseconds_since(begin) / double(count);
  }

 private:
  const Ops<T>& ops_;
  std::shared_ptr<const Stream> queue_;
  std::shared_ptr<std::byte> block_;
  std::vector<typename KernelCall<T>::Launch> launches_;
  size_t next_ = 0;
};

}  // namespace

template <class T>
KernelTime time_kernel(const KernelCall<T>& call, const Ops<T>& ops, const TimingOptions& options) {
  const int64_t bytes = Packing(call.touched).bytes();
  const int64_t copies = std::clamp(ceil_div(options.rotate_bytes, bytes), int64_t(1), kMaxCopies);
  CopiesOfCall<T> call_in_turns(call, ops, copies);
  call_in_turns.run(copies);  // libraries choose, pages and clocks wake up
  const double about = call_in_turns.run(std::min<int64_t>(copies, 4));

  KernelTime time{.launches = int64_t(std::clamp(std::ceil(options.sample_ms / about), 1.0, 1e4)),
                  .rotated_bytes = std::min(bytes, int64_t(call.bytes)) * copies};
  std::vector<double> samples;
  for (int64_t i = 0; i < options.samples; ++i) samples.push_back(call_in_turns.run(time.launches));
  std::sort(samples.begin(), samples.end());
  time.ms = samples[samples.size() / 2];
  time.ms_min = samples.front();
  time.ms_max = samples.back();
  return time;
}

template <class T>
void run_once(const KernelCall<T>& call, const Ops<T>& ops) {
  CopiesOfCall<T>(call, ops, 1).run(1);
}

template <class T>
Ceilings measure_ceilings(const Ops<T>& ops, const TimingOptions& options) {
  using A = Accum<T>;
  const int64_t n = ops.host_memory ? 1024 : 8192, size = n * n;
  const auto addresses = reserve_addresses(4 * size * int64_t(sizeof(A)));
  const auto stored = [&](int i) { return reinterpret_cast<T*>(addresses.get()) + i * size; };
  const auto accum = [&](int i) { return Vec<A>{reinterpret_cast<A*>(addresses.get()) + i * size, size}; };

  const auto product = make_call<T>(
      MatmulFwd<T>{.y = mat(stored(0), n, n), .x = mat(stored(1), n, n), .w = mat(stored(2), n, n)});
  // With as many heads on both sides, repeat_heads is a plain copy. AdamW writes where it has read: that is
  // faster where a cache reads what is to be written.
  const auto copy = make_call<T>(
      RepeatHeadsFwd<T>{.y = heads_BTHD(stored(0), 1, n, 1, n), .x = heads_BTHD(stored(1), 1, n, 1, n)});
  const auto update =
      make_call<T>(AdamW<T>{.master = accum(0), .m = accum(1), .v = accum(2), .grad = accum(3), .t = 1});
  const auto per_s = [&](double work, const KernelCall<T>& call) {
    return work / time_kernel(call, ops, options).ms * 1e3;
  };
  const double copied = per_s(copy.bytes, copy), updated = per_s(update.bytes, update);
  return {.flop_per_s = per_s(product.flops, product),
          .bytes_per_s = std::max(copied, updated),
          .flops_from = product.op + " " + product.shape + ", measured",
          .bytes_from = (copied > updated ? copy : update).op + " " +
                        (copied > updated ? copy : update).shape + ", measured"};
}

template KernelTime time_kernel(const KernelCall<float>&, const Ops<float>&, const TimingOptions&);
template KernelTime time_kernel(const KernelCall<bf16>&, const Ops<bf16>&, const TimingOptions&);
template void run_once(const KernelCall<float>&, const Ops<float>&);
template void run_once(const KernelCall<bf16>&, const Ops<bf16>&);
template Ceilings measure_ceilings(const Ops<float>&, const TimingOptions&);
template Ceilings measure_ceilings(const Ops<bf16>&, const TimingOptions&);

}  // namespace saslm
