// AdamW with decoupled weight decay (Loshchilov & Hutter 2019, algorithm 2), one tensor per call, and the sum
// of a vector.
//
//   g' = grad_scale * g     m = b1 m + (1-b1) g'     v = b2 v + (1-b2) g'^2
//   p -= lr * ( (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) + eps) + weight_decay * p )        t = 1, 2, ...
//
// Shapes   all (size).
// Types    master, m, v, grad in Accum<T>. `param` is the model's own copy in T; on the CPU it is the master.
// Writes   master, m, v (and param) in place.
// Repeats  Bit for bit: element by element; sum adds fixed chunks in order, in double.
// Errors   ShapeError before any work.
#pragma once
#include "core/stream.h"
#include "core/types.h"
#include "core/view.h"

namespace saslm {

template <class T>
struct AdamW {
  Vec<Accum<T>> master, m, v;  // in/out
  Vec<T> param;                // out, or absent when it is the master itself
  Vec<const Accum<T>> grad;    // in
  double lr = 0, beta1 = 0, beta2 = 0, eps = 0, weight_decay = 0;
  double grad_scale = 1;  // the clip factor
  int64_t t = 0;          // this update's number, from 1
  void check() const;
};

namespace cpu {
template <class T>
void adamw(Stream, const AdamW<T>&);
}  // namespace cpu

// The sum of x in double, added to a number in memory of the device.
struct DeviceSum {
  double* out = nullptr;  // out +=
  Vec<double> partial;    // scratch (device_sum_partials(x.size))
  Vec<const float> x;     // in
  void check() const;
};
int64_t device_sum_partials(int64_t size);  // a function of the size alone

namespace cuda {
template <class T>
void adamw(Stream, const AdamW<T>&);
void sum(Stream, const DeviceSum&);
}  // namespace cuda

}  // namespace saslm
