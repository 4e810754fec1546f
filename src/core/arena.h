// One zeroed block, the run's only large allocation, laid out by a Layout, handing out views.
#pragma once
#include <memory>

#include "core/layout.h"

namespace saslm {

// Zeroed memory aligned to 4096 bytes; its pages are touched here, so that a machine without enough memory
// says so before the first step. Throws MachineError with the size wanted.
std::shared_ptr<std::byte> allocate_host(int64_t bytes);

template <class T>
class Arena {
 public:
  // `block` is zeroed memory of layout.bytes() bytes, the host's or a device's.
  Arena(const Layout<T>& layout, std::shared_ptr<std::byte> block)
      : block_(std::move(block)), bytes_(layout.bytes()) {
    for (int r = 0; r < kRegions; ++r) base_[r] = block_.get() + layout.region_offset(Region(r));
    if constexpr (std::is_same_v<T, Accum<T>>) base_[int(Region::masters)] = base_[int(Region::parameters)];
    for (int r = 0; r <= int(Region::gradients); ++r) elements_[r] = layout.elements(Region(r));
  }

  int64_t bytes() const { return bytes_; }

  // Weights, as matrices or as vectors; an absent handle gives an empty view.
  Mat<const T> weight(const Param& p) const { return as_mat<const T>(Region::parameters, p); }
  Vec<const T> vector(const Param& p) const { return as_vec<const T>(Region::parameters, p); }
  Mat<Accum<T>> weight_grad(const Param& p) const { return as_mat<Accum<T>>(Region::gradients, p); }
  Vec<Accum<T>> vector_grad(const Param& p) const { return as_vec<Accum<T>>(Region::gradients, p); }

  // One tensor of the table in one of the three weight regions, which has all of them.
  template <class X>
  Vec<X> tensor(Region region, const ParamSpec& spec) const {
    check(spec.offset + spec.size <= elements_[int(region)], "a packed region has no whole tensors");
    return {reinterpret_cast<X*>(base_[int(region)]) + spec.offset, spec.size};
  }
  // All that a weight region holds, with the gaps between.
  template <class X>
  Vec<X> whole(Region region) const {
    return {reinterpret_cast<X*>(base_[int(region)]), elements_[int(region)]};
  }
  Vec<Accum<T>> gradients() const { return whole<Accum<T>>(Region::gradients); }
  // The same memory with copy `buffer` of the gradients in place of the first.
  Arena with_gradients(int64_t buffer) const {
    Arena other = *this;
    other.base_[int(Region::gradients)] += buffer * gradients().size * int64_t(sizeof(Accum<T>));
    return other;
  }

  template <class X>
  Vec<X> at(const Slot<Vec<X>>& s) const {
    return {pointer<X>(s), s ? s.shape.size : 0};
  }
  template <class X>
  Mat<X> at(const Slot<Mat<X>>& s) const {
    return {pointer<X>(s), s.shape.rows, s.shape.cols, s.shape.stride};
  }
  template <class X>
  Heads<X> at(const Slot<Heads<X>>& s) const {
    Heads<X> view = s.shape;
    view.data = pointer<X>(s);
    return view;
  }

 private:
  template <class X, class View>
  X* pointer(const Slot<View>& s) const {
    return s ? reinterpret_cast<X*>(base_[int(s.region)] + s.offset_bytes) : nullptr;
  }
  template <class X>
  Mat<X> as_mat(Region region, const Param& p) const {
    if (p.offset < 0) return {};
    return saslm::mat(reinterpret_cast<X*>(base_[int(region)]) + p.offset, p.rows, p.cols);
  }
  template <class X>
  Vec<X> as_vec(Region region, const Param& p) const {
    if (p.offset < 0) return {};
    return {reinterpret_cast<X*>(base_[int(region)]) + p.offset, p.rows};
  }

  std::shared_ptr<std::byte> block_;
  int64_t bytes_ = 0;
  std::array<int64_t, kRegions> elements_{};
  std::array<std::byte*, kRegions> base_{};
};

}  // namespace saslm
