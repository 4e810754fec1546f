// Layout: the place of every buffer in memory, decided before anything is allocated.
//
// Modules declare their buffers in a Layout<T> and keep the returned handles: Param (a weight) and Slot (any
// other buffer). Declaring allocates nothing, so `saslm plan` builds a model without an arena. An Arena<T>
// (arena.h) is one block of layout.bytes() bytes that turns handles into views.
//
// Regions, in this order in the block:
//
//   parameters  T         what the model computes with
//   masters     Accum<T>  what the optimizer updates; absent when T is Accum<T>: then it is the parameters
//   gradients   Accum<T>  training only; several copies when they are summed as a tree
//   optimizer   Accum<T>  what the optimizer keeps from step to step (train/model_state.h)
//   tables      what outlasts a call: rope angles, the batch, key/value caches, sums
//   snapshot    float     weights and optimizer state, while a checkpoint is written and training goes on
//   activations kept from forward to backward
//   scratch     dead after the call that wrote it
//
// Buffers share memory by scopes (Layout::Scope), which say what is alive together: modules share scratch,
// and layers share activations where nothing is kept.
//
// The parameter table (`params`) is the one list that the initialiser, optimizer, checkpoints and counts use.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/dims.h"
#include "core/error.h"
#include "core/types.h"
#include "core/view.h"

namespace saslm {

enum class Region { parameters, masters, gradients, optimizer, tables, snapshot, activations, scratch };
constexpr int kRegions = 8;
const char* name_of(Region region);

enum class Mode { train, infer };

// Initial value of a tensor: scale * draw + plus(index).
struct Init {
  enum class Draw { none, normal, uniform };  // N(0,1); U(-1,1)
  Draw draw = Draw::none;
  double scale = 0;
  std::function<double(int64_t index)> plus;  // row-major index; absent = 0

  static Init zeros() { return {}; }
  static Init ones() {
    return {Draw::none, 0, [](int64_t) { return 1.0; }};
  }
  static Init normal(double deviation) { return {Draw::normal, deviation, {}}; }
  static Init uniform(double bound) { return {Draw::uniform, bound, {}}; }
};

struct ParamSpec {
  std::string name;            // as in checkpoints: docs/formats.md
  std::vector<int64_t> shape;  // row-major
  Init init;
  std::string part;    // its part in `plan`: "attention", "sas", "mlp", ...
  int64_t offset = 0;  // elements from the start of its region
  int64_t size = 0;    // elements
  int64_t room = 0;    // elements up to the next tensor, or the end; the gap holds zeros

  bool decays() const { return shape.size() >= 2; }  // biases and norm weights do not decay
};

// Handle of a weight: a matrix of (rows, cols) or, with cols 0, a vector of rows.
struct Param {
  int64_t offset = -1;  // -1: absent
  int64_t rows = 0, cols = 0;
  int64_t pad = 0;  // rows of zeros behind these: Arena::padded_weight
};

// Handle of a buffer: a view without data.
template <class View>
struct Slot {
  Region region = Region::scratch;
  int64_t offset_bytes = -1;  // from the start of the region; -1: absent
  View shape;
  explicit operator bool() const { return offset_bytes >= 0; }
};

// Where the buffers of a scope lie, with all scopes within it; empty where there are none.
struct Extent {
  Region region = Region::scratch;
  int64_t offset_bytes = 0, bytes = 0;  // from the start of the region
};

// Features first .. first+count-1 of every head, in place.
template <class X>
Slot<Heads<X>> feature_range(Slot<Heads<X>> slot, int64_t first, int64_t count) {
  slot.offset_bytes += first * int64_t(sizeof(X));
  slot.shape.D = count;
  return slot;
}

// One line of the memory table: a buffer as declared (overlapping buffers have a line each).
struct BufferLine {
  Region region;
  std::string name;
  int64_t bytes = 0;
};

template <class T>
class Layout {
  // How far a region is taken, in its present scope.
  struct RegionUse {
    int64_t used = 0;     // bytes, by what is alive now
    int64_t largest = 0;  // the most there ever was
    bool closed = false;  // a scope directly within has ended
  };

 public:
  explicit Layout(Mode mode) : mode_(mode) {}

  Mode mode() const { return mode_; }
  bool training() const { return mode_ == Mode::train; }

  // A weight. shape has one entry (vector) or more (matrix of shape[0] rows). Behind a matrix may be room for
  // `pad` rows more, in an alignment gap that is no weight's: nothing counts, stores or updates it, and its
  // zeros stay as they are.
  Param param(const std::string& name, const std::vector<int64_t>& shape, const std::string& part, Init init,
              int64_t pad = 0) {
    int64_t size = 1;
    for (const int64_t extent : shape) size *= extent;
    const Param handle{param_elements_, shape[0], shape.size() > 1 ? size / shape[0] : 0, pad};
    const int64_t room = round_up(size + pad * handle.cols, kAlignElements);
    params_.push_back({name, shape, std::move(init), part, param_elements_, size, room});
    param_elements_ += room;
    return handle;
  }

  template <class X>
  Slot<Vec<X>> vec(Region region, const std::string& name, int64_t size) {
    return {region, reserve(region, name, size * int64_t(sizeof(X))), {nullptr, size}};
  }
  template <class X = T>
  Slot<Mat<X>> mat(Region region, const std::string& name, int64_t rows, int64_t cols) {
    return {region, reserve(region, name, rows * cols * int64_t(sizeof(X))), {nullptr, rows, cols, cols}};
  }
  // The same with every row aligned to device transactions, as fast matrix multiplication needs.
  template <class X = T>
  Slot<Mat<X>> mat_of_aligned_rows(Region region, const std::string& name, int64_t rows, int64_t cols) {
    const int64_t stride = round_up(cols, kAlignRowBytes / int64_t(sizeof(X)));
    return {region, reserve(region, name, rows * stride * int64_t(sizeof(X))), {nullptr, rows, cols, stride}};
  }
  // Contiguous [B,T,H,D]: a token's rows of all heads, as linear layers write and read them.
  Slot<Heads<T>> heads_BTHD(Region region, const std::string& name, int64_t B, int64_t T_, int64_t H,
                            int64_t D) {
    return {region, reserve(region, name, B * T_ * H * D * int64_t(sizeof(T))),
            saslm::heads_BTHD<T>(nullptr, B, T_, H, D)};
  }
  // Contiguous [B,H,T,D]: one head's rows are adjacent, as attention reads them.
  Slot<Heads<T>> heads_BHTD(Region region, const std::string& name, int64_t B, int64_t T_, int64_t H,
                            int64_t D) {
    return {region, reserve(region, name, B * T_ * H * D * int64_t(sizeof(T))),
            saslm::heads_BHTD<T>(nullptr, B, T_, H, D)};
  }

  // Copies of the gradients' region.
  void set_gradient_buffers(int64_t count) { gradient_buffers_ = count; }

  // The masters' region has room for so many elements, instead of one for every weight: which ones is the
  // caller's matter. Nothing where the parameters are the masters.
  void pack_masters(int64_t elements) { packed_masters_ = std::is_same_v<T, Accum<T>> ? -1 : elements; }

  // A part of a region whose buffers are alive together, while the C++ scope that holds it declares them. At
  // its end they are dead: what is declared next lies over them. Scopes nest. What lives on while a scope
  // within runs is declared in the outer one, and before it: reserve() refuses it afterwards, where it would
  // lie over buffers that are alive at the same time. So no order of declarations makes two living buffers
  // overlap unnoticed.
  class Scope {
   public:
    // *extent, when given, is what the scope took, written at its end: Exec::alive takes it.
    Scope(Layout& layout, Region region, Extent* extent = nullptr)
        : use_(layout.uses_[int(region)]), outer_(use_), region_(region), extent_(extent) {
      use_ = {.used = outer_.used, .largest = outer_.used};
    }
    ~Scope() {
      if (extent_ != nullptr) *extent_ = {region_, outer_.used, use_.largest - outer_.used};
      use_ = {.used = outer_.used,
              .largest = std::max(outer_.largest, use_.largest),
              .closed = outer_.closed || use_.largest > outer_.used};
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    RegionUse& use_;
    const RegionUse outer_;
    Region region_;
    Extent* extent_;
  };

  const std::vector<ParamSpec>& params() const { return params_; }
  const std::vector<BufferLine>& buffers() const { return buffers_; }
  int64_t param_elements() const { return param_elements_; }  // with alignment gaps

  // Of one of the three weight regions.
  int64_t elements(Region region) const {
    return region == Region::masters && packed_masters_ >= 0 ? packed_masters_ : param_elements_;
  }
  int64_t region_bytes(Region region) const {
    const int64_t accum = elements(region) * int64_t(sizeof(Accum<T>));
    switch (region) {
      case Region::parameters:
        return param_elements_ * int64_t(sizeof(T));
      case Region::masters:
        return training() && !std::is_same_v<T, Accum<T>> ? accum : 0;
      case Region::gradients:
        return training() ? gradient_buffers_ * accum : 0;
      default:
        return uses_[int(region)].largest;
    }
  }
  int64_t region_offset(Region region) const {
    int64_t offset = 0;
    for (int r = 0; r < int(region); ++r) offset += round_up(region_bytes(Region(r)), kAlignBytes);
    return offset;
  }
  int64_t bytes() const {
    return region_offset(Region::scratch) + round_up(region_bytes(Region::scratch), kAlignBytes);
  }

 private:
  static constexpr int64_t kAlignBytes = 256;  // a device transaction, and four cache lines
  static constexpr int64_t kAlignElements = 64;
  static constexpr int64_t kAlignRowBytes = 128;

  int64_t reserve(Region region, const std::string& name, int64_t bytes) {
    check(region >= Region::optimizer, "weights are declared with param()");
    RegionUse& use = uses_[int(region)];
    if (use.closed)
      throw ShapeError(
          "internal error: " + name +
          " is declared after a scope beside it has ended, whose buffers it would lie over while "
          "they are alive; declare it before that scope, or in a scope of its own");
    const int64_t offset = use.used;
    use.used += round_up(bytes, kAlignBytes);
    use.largest = std::max(use.largest, use.used);
    buffers_.push_back({region, name, bytes});
    return offset;
  }

  Mode mode_;
  std::vector<ParamSpec> params_;
  std::vector<BufferLine> buffers_;
  int64_t param_elements_ = 0, gradient_buffers_ = 1, packed_masters_ = -1;
  std::array<RegionUse, kRegions> uses_;
};

}  // namespace saslm
