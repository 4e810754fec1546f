// The views of a call in one common form: rows of H x D elements, for B sequences of T positions. If a view's
// rows are tokens, B and T are those of the call; otherwise B is 1 and T the number of rows.
//
// Inputs repeat over tokens (Fold), so the expected results of a large call follow from a small one: the
// result of token (b, t) is that of (b mod sequences, t mod positions), and a sum over all tokens is a
// weighted sum over the few distinct ones.
#pragma once
#include <cstring>
#include <vector>

#include "bench/describe.h"

namespace saslm {

struct CallView {
  enum class Type { bf16, f32, f64, i32 };
  Use use;
  Type type = Type::f32;
  const std::byte* begin = nullptr;                                              // null: absent
  int64_t B = 1, T = 1, H = 1, D = 0, b_stride = 0, t_stride = 0, h_stride = 0;  // strides in elements
  bool vector = false;

  int64_t element_bytes() const { return type == Type::bf16 ? 2 : type == Type::f64 ? 8 : 4; }
  int64_t offset(int64_t b, int64_t t, int64_t h) const {  // in bytes, of the first of the D elements
    return (b * b_stride + t * t_stride + h * h_stride) * element_bytes();
  }
  bool is_output() const { return use.access == Use::Access::out || use.access == Use::Access::in_out; }
  bool is_input() const { return use.access == Use::Access::in || use.access == Use::Access::in_out; }
  std::string dims() const;
};

template <class X>
constexpr CallView::Type type_of() {
  using S = std::remove_const_t<X>;
  if constexpr (std::is_same_v<S, bf16>)
    return CallView::Type::bf16;
  else if constexpr (std::is_same_v<S, float>)
    return CallView::Type::f32;
  else if constexpr (std::is_same_v<S, double>)
    return CallView::Type::f64;
  else
    return CallView::Type::i32;
}
inline double get(const std::byte* at, CallView::Type type, int64_t i) {
  const auto read = [&]<class X>(X x) {
    std::memcpy(&x, at + i * int64_t(sizeof x), sizeof x);
    return x;
  };
  switch (type) {
    case CallView::Type::bf16:
      return double(float(read(bf16())));
    case CallView::Type::f32:
      return double(read(float()));
    case CallView::Type::f64:
      return read(double());
    default:
      return double(read(int32_t()));
  }
}
void put(std::byte* at, CallView::Type type, int64_t i, double value);

// The number of tokens of a call, and of distinct ones.
struct Fold {
  int64_t B = 1, T = 1, sequences = 1, positions = 1;

  // Distinct rows of a view, for a number of sequences and positions; all rows if they are not tokens.
  static int64_t rows(const CallView& v, int64_t some_sequences, int64_t some_positions) {
    return v.use.row == Use::Row::token      ? some_sequences * some_positions
           : v.use.row == Use::Row::position ? some_positions
                                             : v.B * v.T;
  }
  int64_t rows(const CallView& v) const { return rows(v, sequences, positions); }
  int64_t row(const CallView& v, int64_t b, int64_t t) const {  // the distinct row that this one repeats
    return v.use.row == Use::Row::token      ? b % sequences * positions + t % positions
           : v.use.row == Use::Row::position ? t % positions
                                             : b * v.T + t;
  }
};

// Sets B and T of token views to the call's; throws ShapeError if their number of rows does not fit.
void settle(std::vector<CallView>& views);
// exact: every distinct token occurs equally often, for results that depend on all tokens.
Fold fold_of(const std::vector<CallView>& views, bool exact);

// In the order of describe(), including absent views.
template <class Args>
std::vector<CallView> views_of(Args args) {
  std::vector<CallView> views;
  const auto add = [&]<class View>(const Use& use, const View& v) {
    using X = std::remove_pointer_t<decltype(v.data)>;
    CallView view{.use = use, .type = type_of<X>(), .begin = reinterpret_cast<const std::byte*>(v.data)};
    if constexpr (std::is_same_v<View, Heads<X>>) {
      view.B = v.B, view.T = v.T, view.H = v.H, view.D = v.D;
      view.b_stride = v.b_stride, view.t_stride = v.t_stride, view.h_stride = v.h_stride;
    } else if constexpr (std::is_same_v<View, Mat<X>>) {
      view.T = v.rows, view.D = v.cols, view.t_stride = v.stride;
    } else {
      view.D = v.size, view.vector = true;
    }
    views.push_back(view);
  };
  describe(args, [&](const Use& use, const auto&... v) { (add(use, v), ...); });
  settle(views);
  return views;
}

}  // namespace saslm
