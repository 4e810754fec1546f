// Rotary position embedding, half-split pairs (Su et al. 2021, eq. (34), in the layout of GPT-NeoX).
//
//   angle(t, i) = t * base^(-2i/E)                                       0 <= i < E/2
//   y_i       = x_i cos - x_{i+E/2} sin        y_{i+E/2} = x_i sin + x_{i+E/2} cos
//
// Shapes   x (B, T, H, E), E even; table rows (positions, E/2). E is what is rotated: x may be a view of the
//          first features of wider heads, whose others stay as they are.
// Writes   x in place (=). The backward rotates a gradient by the opposite angle, in place.
// Errors   ShapeError before any work.
#pragma once
#include "core/stream.h"
#include "core/view.h"

namespace saslm {

// cos and sin of every (position, pair). Empty views mean: no rotation.
template <class T>
struct RopeTable {
  Mat<T> cos, sin;  // (positions, E/2)
  explicit operator bool() const { return bool(cos); }
  operator RopeTable<const T>() const requires(!std::is_const_v<T>) { return {cos, sin}; }
};

template <class T>
struct RopeFill {
  RopeTable<T> table;  // out =
  double base = 10000;
  void check() const;
};

template <class T>
struct Rope {
  Heads<T> x;                // in/out (B, T, H, E)
  RopeTable<const T> table;  // in, at least start + T rows
  int64_t start = 0;         // position of the first row of every sequence
  bool inverse = false;      // true: backward
  void check() const;
};

namespace cpu {
template <class T>
void rope_fill(Stream, const RopeFill<T>&);
template <class T>
void rope(Stream, const Rope<T>&);
}  // namespace cpu
namespace cuda {
template <class T>
void rope_fill(Stream, const RopeFill<T>&);
template <class T>
void rope(Stream, const Rope<T>&);
}  // namespace cuda

}  // namespace saslm
