// Arena: the run's one large, zeroed allocation, divided into views by a Layout.
#pragma once
#include <memory>

#include "core/layout.h"

namespace saslm {

// Returns zeroed memory aligned to 4096 bytes. All pages are touched here, so a machine with too little
// memory fails before the first step. Throws MachineError with the size.
std::shared_ptr<std::byte> allocate_host(int64_t bytes);

// Whether buffers are filled with NaN when they are dead: the environment variable SASLM_POISON, when it is
// set and not "0". It is for tests: who reads a dead buffer then computes NaN.
bool poisons_dead_buffers();

template <class T>
class Arena {
 public:
  // `block`: layout.bytes() bytes of zeroed host or device memory.
  Arena(const Layout<T>& layout, std::shared_ptr<std::byte> block)
      : block_(std::move(block)), bytes_(layout.bytes()) {
    for (int r = 0; r < kRegions; ++r) base_[r] = block_.get() + layout.region_offset(Region(r));
    if constexpr (std::is_same_v<T, Accum<T>>) base_[int(Region::masters)] = base_[int(Region::parameters)];
    for (int r = 0; r <= int(Region::gradients); ++r) elements_[r] = layout.elements(Region(r));
  }

  int64_t bytes() const { return bytes_; }
  bool poisons() const { return poisons_; }
  std::byte* begin_of(const Extent& extent) const { return base_[int(extent.region)] + extent.offset_bytes; }

  // Weights as matrices or vectors; an absent handle gives an empty view.
  Mat<const T> weight(const Param& p) const { return as_mat<const T>(Region::parameters, p); }
  Vec<const T> vector(const Param& p) const { return as_vec<const T>(Region::parameters, p); }
  Mat<Accum<T>> weight_grad(const Param& p) const { return as_mat<Accum<T>>(Region::gradients, p); }
  // The same with the rows of zeros behind a weight; to its gradient nobody may add anything but zeros there.
  Mat<const T> padded_weight(const Param& p) const { return weight(with_pad(p)); }
  Mat<Accum<T>> padded_weight_grad(const Param& p) const { return weight_grad(with_pad(p)); }
  Vec<Accum<T>> vector_grad(const Param& p) const { return as_vec<Accum<T>>(Region::gradients, p); }

  // One tensor of the table in one of the three weight regions, which has all of them.
  template <class X>
  Vec<X> tensor(Region region, const ParamSpec& spec) const {
    check(spec.offset + spec.size <= elements_[int(region)], "a packed region has no whole tensors");
    return {reinterpret_cast<X*>(base_[int(region)]) + spec.offset, spec.size};
  }
  // All elements of a weight region, gaps included.
  template <class X>
  Vec<X> whole(Region region) const {
    return {reinterpret_cast<X*>(base_[int(region)]), elements_[int(region)]};
  }
  Vec<Accum<T>> gradients() const { return whole<Accum<T>>(Region::gradients); }
  // The same arena with copy `buffer` of the gradients instead of the first.
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
  static Param with_pad(Param p) {
    p.rows += p.pad;
    return p;
  }
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
  bool poisons_ = poisons_dead_buffers();
  std::array<int64_t, kRegions> elements_{};
  std::array<std::byte*, kRegions> base_{};
};

}  // namespace saslm
