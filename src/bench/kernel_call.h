// A recorded call of an operation that can be repeated on other memory: its name, shape and work, the memory
// it accesses, and how to repeat it.
#pragma once
#include <any>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "bench/describe.h"

namespace saslm {

// The memory of one view, from its first to its last element.
struct Touched {
  const std::byte* begin = nullptr;
  int64_t bytes = 0;
  int64_t element_bytes = 0;
  // Writes elements first .. first+count-1 of the contents; absent for scratch.
  std::function<void(std::byte* out, int64_t first, int64_t count)> draw;
  int64_t group = 1;  // size of a group of elements: Use::distinct
};

// Places a call's memory in a separate block: overlapping views stay together, and alignments are kept. At
// least gap_bytes of unused memory lie before and after each.
class Packing {
 public:
  explicit Packing(const std::vector<Touched>& touched, int64_t gap_bytes = 0);
  int64_t bytes() const { return bytes_; }
  std::byte* at(std::byte* block, const void* recorded) const;

 private:
  struct Range {
    const std::byte *begin, *end;
    int64_t offset;
  };
  std::vector<Range> ranges_;  // ascending
  int64_t bytes_ = 0;
};

template <class T>
struct KernelCall {
  std::string op, shape;
  double flops = 0, bytes = 0;  // as defined in describe.h
  std::vector<Touched> touched;
  std::string key;               // equal for calls of equal cost
  std::any args;                 // of the operation's argument type, as recorded
  std::vector<int64_t> repeats;  // per step of each config; see recording.h

  using Launch = std::function<void(const Ops<T>&, Stream)>;
  std::function<Launch(const Packing&, std::byte* block)> moved_to;

  std::shared_ptr<const void> recorded;  // the recorded addresses, kept reserved so that a view that
                                         // describe() forgot, and that was therefore not moved, faults
};

// Reserves addresses without access, for planning.
std::shared_ptr<std::byte> reserve_addresses(int64_t bytes);

// `count` values of a view's contents, from a fast fixed random stream.
template <class X>
void draw(X* out, int64_t first, int64_t count, const Use& use) {
  for (int64_t i = 0; i < count; ++i) {
    const int64_t drawn = (first + i) / use.distinct, next = (first + i) % use.distinct;
    uint64_t z = (uint64_t(drawn) + 1) * 0x9e3779b97f4a7c15u;  // splitmix64, Steele et al. 2014
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    if constexpr (std::is_integral_v<X>) {
      out[i] = X(use.below > 0 ? (z % uint64_t(use.below) + uint64_t(next)) % uint64_t(use.below) : 0);
    } else {
      const double uniform = double(z >> 11) * 0x1p-53;  // of deviation 1/sqrt(12)
      out[i] = X(float(use.value != 0 ? use.value : (uniform - 0.5) * 3.4641016));
    }
  }
}

template <class X>
int64_t extent(const Vec<X>& v) {
  return v.size;
}
template <class X>
int64_t extent(const Mat<X>& v) {
  return (v.rows - 1) * v.stride + v.cols;
}
template <class X>
int64_t extent(const Heads<X>& v) {
  return (v.B - 1) * v.b_stride + (v.T - 1) * v.t_stride + (v.H - 1) * v.h_stride + v.D;
}

// Number of distinct elements accessed.
template <class X>
int64_t count(const Vec<X>& v, const Use&) {
  return v.size;
}
template <class X>
int64_t count(const Mat<X>& v, const Use& use) {
  return (use.rows < 0 ? v.rows : std::min(use.rows, v.rows)) * v.cols;
}
template <class X>
int64_t count(const Heads<X>& v, const Use&) {
  return v.B * v.T * v.H * v.D;
}

template <class X>
std::string key_of(const Vec<X>& v) {
  return std::to_string(v.size);
}
template <class X>
std::string key_of(const Mat<X>& v) {
  return dims(v) + "/" + std::to_string(v.stride);
}
template <class X>
std::string key_of(const Heads<X>& v) {
  return dims(v) + "/" + std::to_string(v.b_stride) + "/" + std::to_string(v.t_stride) + "/" +
         std::to_string(v.h_stride);
}

template <class T, class X>
void add_view(KernelCall<T>& call, const Use& use, const X& view) {
  call.key += "|";
  if (!view) return;
  using Element = std::remove_pointer_t<decltype(view.data)>;
  using Stored = std::remove_const_t<Element>;
  Touched touched{reinterpret_cast<const std::byte*>(view.data),
                  extent(view) * int64_t(sizeof(Stored)),
                  sizeof(Stored),
                  {}};
  touched.group = use.distinct;
  if (use.access != Use::Access::scratch)
    touched.draw = [use](std::byte* out, int64_t first, int64_t n) {
      draw(reinterpret_cast<Stored*>(out), first, n, use);
    };
  call.touched.push_back(std::move(touched));
  const int passes = use.access == Use::Access::scratch ? 0 : use.access == Use::Access::in_out ? 2 : 1;
  call.bytes += double(passes * count(view, use) * int64_t(sizeof(Stored)));
  call.key += key_of(view);
}

// Repeats the call on other memory.
template <class Args>
Args moved(Args args, const Packing& packing, std::byte* block) {
  const auto move = [&](auto& view) {
    using X = std::remove_reference_t<decltype(*view.data)>;
    if (view) view.data = reinterpret_cast<X*>(packing.at(block, view.data));
  };
  describe(args, [&](const Use&, auto&... views) { (move(views), ...); });
  return args;
}

template <class T, class Args>
KernelCall<T> make_call(Args args) {
  KernelCall<T> call;
  call.op = Launcher<T, Args>::kName;
  const Work work =
      describe(args, [&](const Use& use, const auto&... views) { (add_view(call, use, views), ...); });
  call.shape = work.shape;
  call.flops = work.flops;
  call.key = call.op + " " + call.shape + call.key;
  call.args = args;
  call.moved_to = [args](const Packing& packing, std::byte* block) {
    return [there = moved(args, packing, block)](const Ops<T>& ops, Stream stream) {
      Launcher<T, Args>::launch(ops, stream, there);
    };
  };
  return call;
}

}  // namespace saslm
