#include "kernels/sas.h"

#include <initializer_list>
#include <string>
#include <string_view>

#include "core/error.h"
#include "kernels/cpu/sas_plan.h"

namespace saslm {
namespace {

// A name in parts, joined only when there is something to say.
using Name = std::initializer_list<std::string_view>;

[[noreturn]] void refuse(Name name, const std::string& complaint) {
  std::string message = "sas: ";
  for (const std::string_view part : name) message += part;
  throw ShapeError(message + " " + complaint);
}

void want(Name name, int64_t got, int64_t wanted, const char* meaning) {
  if (got != wanted)
    refuse(name, "is " + std::to_string(got) + ", wanted " + meaning + " = " + std::to_string(wanted));
}

void want_at_least(Name name, int64_t got, int64_t wanted, const char* meaning) {
  if (got < wanted)
    refuse(name,
           "is " + std::to_string(got) + ", wanted at least " + meaning + " = " + std::to_string(wanted));
}

void want_there(Name name, bool there, const char* because) {
  if (!there) refuse(name, std::string("is absent, ") + because);
}

template <class X>
void want_heads(const char* name, const Heads<X>& heads) {
  want_there({name}, bool(heads), "but always needed");
  want_at_least({name, ".B"}, heads.B, 1, "one");
  want_at_least({name, ".T"}, heads.T, 1, "one");
  want_at_least({name, ".H"}, heads.H, 1, "one");
  want_at_least({name, ".D"}, heads.D, 1, "one");
}

struct Size {
  int64_t value;
  const char* name;
};

constexpr const char* kWholeHalf = "but other tensors of its half are there";

template <class S>
void want_linear(const char* owner, const char* tensor, const Mat<S>& w, const Vec<S>& b, Size rows,
                 Size cols) {
  want_there({owner, tensor, "_w"}, bool(w), kWholeHalf);
  want({owner, tensor, "_w.rows"}, w.rows, rows.value, rows.name);
  want({owner, tensor, "_w.cols"}, w.cols, cols.value, cols.name);
  want_at_least({owner, tensor, "_w.stride"}, w.stride, cols.value, cols.name);
  want_there({owner, tensor, "_b"}, bool(b), kWholeHalf);
  want({owner, tensor, "_b.size"}, b.size, rows.value, rows.name);
}

// Each half is whole or absent, and what is there fits the shape.
template <class S>
void want_params(const char* owner, const SasParams<S>& p, const SasShape& s) {
  if (p.conv1_w || p.conv1_b || p.conv2_w || p.conv2_b) {
    want_linear(owner, ".conv1", p.conv1_w, p.conv1_b, {s.Hs, "Hs"}, {s.H * s.K, "H*K"});
    want_linear(owner, ".conv2", p.conv2_w, p.conv2_b, {s.Hs, "Hs"}, {s.Hs * s.K, "Hs*K"});
  } else {
    want({"Hs"}, s.Hs, s.H, "H, there being no convolutions,");
  }
  if (p.proj1_w || p.proj1_b || p.proj2_w || p.proj2_b) {
    want_linear(owner, ".proj1", p.proj1_w, p.proj1_b, {s.E, "E"}, {s.D, "D"});
    want_linear(owner, ".proj2", p.proj2_w, p.proj2_b, {s.E, "E"}, {s.E, "E"});
  } else {
    want({"E"}, s.E, s.D, "D, there being no projections,");
  }
}

template <class T>
void want_weights(const SasParams<const T>& w, const SasShape& s) {
  if (s.convs && (s.K < 1 || s.K > 63 || s.K % 2 == 0))
    refuse({"w.kernel_size"}, "is " + std::to_string(s.K) + ", wanted an odd number from 1 to 63");
  want_params("w", w, s);
}

template <class T>
void want_rope(const RopeTable<const T>& rope, int64_t E, int64_t positions) {
  if (!rope) return;
  want({"E"}, E, E / 2 * 2, "an even number, there being a rope table,");
  want_there({"rope.sin"}, bool(rope.sin), "but rope.cos is there");
  want({"rope.cos.cols"}, rope.cos.cols, E / 2, "E/2");
  want({"rope.sin.cols"}, rope.sin.cols, E / 2, "E/2");
  want_at_least({"rope.cos.rows"}, rope.cos.rows, positions, "start + T");
  want_at_least({"rope.sin.rows"}, rope.sin.rows, positions, "start + T");
}

}  // namespace

template <class T>
void SasFwd<T>::check() const {
  want_heads("x", x);
  want_heads("y", y);
  want({"y.B"}, y.B, x.B, "x.B");
  want({"y.T"}, y.T, x.T, "x.T");
  want_weights(w, cpu::sas_shape(x, y, w));
  want_at_least({"start"}, start, 0, "zero");
  want_rope(rope, y.D, start + y.T);
}

template <class T>
void SasBwd<T>::check() const {
  want_heads("x", x);
  want_heads("dx", dx);
  want_heads("dy", dy);
  want({"dx.B"}, dx.B, x.B, "x.B");
  want({"dx.T"}, dx.T, x.T, "x.T");
  want({"dx.H"}, dx.H, x.H, "x.H");
  want({"dx.D"}, dx.D, x.D, "x.D");
  want({"dy.B"}, dy.B, x.B, "x.B");
  want({"dy.T"}, dy.T, x.T, "x.T");
  const SasShape shape = cpu::sas_shape(x, dy, w);
  want_weights(w, shape);
  want_there({"dw.conv1_w"}, bool(dw.conv1_w) || !shape.convs, "but w.conv1_w is there");
  want_there({"dw.proj1_w"}, bool(dw.proj1_w) || !shape.projections, "but w.proj1_w is there");
  want_params("dw", dw, shape);
  want_rope(rope, dy.D, dy.T);
  want_at_least({"partial.size"}, partial.size, sas_bwd_scratch(shape), "sas_bwd_scratch()");
}

int64_t sas_bwd_scratch(const SasShape& shape) {
  constexpr int64_t kMostLanes = 16;  // float's; double has fewer
  return cpu::sas_partitions(shape.tokens) * cpu::SasSums(shape, kMostLanes).size;
}

template struct SasFwd<float>;
template struct SasFwd<double>;
template struct SasBwd<float>;
template struct SasBwd<double>;

}  // namespace saslm
