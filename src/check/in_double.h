// A call in double precision: settings here, views in twin.h. Operations not listed have their own reference.
#pragma once
#include "bench/describe.h"

namespace saslm {

template <class T>
EmbeddingFwd<double> in_double(const EmbeddingFwd<T>& a) {
  return {.seq_len = a.seq_len, .start = a.start};
}
template <class T>
EmbeddingBwd<double> in_double(const EmbeddingBwd<T>& a) {
  return {.seq_len = a.seq_len};
}
template <class T>
NormFwd<double> in_double(const NormFwd<T>& a) {
  return {.eps = a.eps};
}
template <class T>
NormBwd<double> in_double(const NormBwd<T>&) {
  return {};
}
template <class T>
MatmulFwd<double> in_double(const MatmulFwd<T>&) {
  return {};
}
template <class T>
MatmulBwd<double> in_double(const MatmulBwd<T>& a) {
  return {.dx_accumulate = a.dx_accumulate};
}
template <class T>
ActivationFwd<double> in_double(const ActivationFwd<T>& a) {
  return {.kind = a.kind};
}
template <class T>
ActivationBwd<double> in_double(const ActivationBwd<T>& a) {
  return {.kind = a.kind};
}
template <class T>
RopeFill<double> in_double(const RopeFill<T>& a) {
  return {.base = a.base};
}
template <class T>
Rope<double> in_double(const Rope<T>& a) {
  return {.start = a.start, .inverse = a.inverse};
}
template <class T>
RepeatHeadsFwd<double> in_double(const RepeatHeadsFwd<T>&) {
  return {};
}
template <class T>
RepeatHeadsBwd<double> in_double(const RepeatHeadsBwd<T>&) {
  return {};
}
template <class T>
TensorProductFwd<double> in_double(const TensorProductFwd<T>&) {
  return {};
}
template <class T>
TensorProductBwd<double> in_double(const TensorProductBwd<T>&) {
  return {};
}
template <class T>
HeadEmbeddingFwd<double> in_double(const HeadEmbeddingFwd<T>& a) {
  return {.form = a.form};
}
template <class T>
HeadEmbeddingBwd<double> in_double(const HeadEmbeddingBwd<T>& a) {
  return {.form = a.form};
}
template <class T>
SasFwd<double> in_double(const SasFwd<T>& a) {
  return {.w = {.kernel_size = a.w.kernel_size}, .start = a.start};
}
template <class T>
SasBwd<double> in_double(const SasBwd<T>& a) {
  return {.dw = {.kernel_size = a.dw.kernel_size}, .w = {.kernel_size = a.w.kernel_size}};
}
template <class T>
HeadGatesFwd<double> in_double(const HeadGatesFwd<T>& a) {
  return {.routing = a.routing};
}
template <class T>
HeadGatesBwd<double> in_double(const HeadGatesBwd<T>& a) {
  return {.routing = a.routing, .aux_weight = a.aux_weight, .scale = a.scale};
}
template <class T>
CrossEntropy<double> in_double(const CrossEntropy<T>& a) {
  return {.scale = a.scale, .pad = a.pad, .softcap = a.softcap, .z_weight = a.z_weight};
}
template <class T>
AdamW<double> in_double(const AdamW<T>& a) {
  return {.lr = a.lr,
          .beta1 = a.beta1,
          .beta2 = a.beta2,
          .eps = a.eps,
          .weight_decay = a.weight_decay,
          .grad_scale = a.grad_scale,
          .t = a.t};
}
template <class A>
Accumulate<double> in_double(const Accumulate<A>&) {
  return {};
}

}  // namespace saslm
