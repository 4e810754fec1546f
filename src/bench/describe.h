// Describes the memory accesses and computation of a call, for every operation of the backend table: the
// bench derives shapes, bytes and FLOPs from the arguments.
//
//   Work describe(Args& a, view)     calls view(use, v...) for every view of a, absent ones too
//
// FLOPs   2 per multiply-add of matrix products; elementwise work does not count. Of attention, what its
//         mask leaves. Recomputed products count if their results are not kept: scores in attention_bwd (5
//         products) and all but the last product in sas_bwd.
// Bytes   what no kernel can avoid: every input once, every output once, += twice, scratch never.
#pragma once
#include <cmath>
#include <string>
#include <tuple>

#include "ops/ops.h"

namespace saslm {

struct Use {
  enum class Access { in, out, in_out, scratch };
  enum class Row { any, token, position };
  Access access = Access::in;
  int64_t rows = -1;  // of a matrix that is gathered from: number of rows accessed
  // Contents: random numbers of mean 0 and deviation 1, unless set here.
  int64_t below = 0;     // integers: indices from 0 to below - 1,
  int64_t distinct = 1;  // each group of this many is distinct
  double value = 0;      // constant, if not 0
  // The meaning of a row: a token, whose results depend only on its own rows; a position, the same for all
  // sequences; or anything else. For vectors: of an element.
  Row row = Row::any;

  constexpr Use of_token() const { return with(Row::token); }
  constexpr Use of_position() const { return with(Row::position); }

 private:
  constexpr Use with(Row what) const {
    Use use = *this;
    use.row = what;
    return use;
  }
};
constexpr Use kIn, kOut{Use::Access::out}, kInOut{Use::Access::in_out}, kScratch{Use::Access::scratch};
constexpr Use indices(int64_t below) {
  return {.below = below};
}

struct Work {
  std::string shape;
  double flops = 0;
};

template <class X>
std::string dims(const Mat<X>& v) {
  return std::to_string(v.rows) + "x" + std::to_string(v.cols);
}
template <class X>
std::string dims(const Heads<X>& v) {  // B x T x H x D
  return std::to_string(v.B) + "x" + std::to_string(v.T) + "x" + std::to_string(v.H) + "x" +
         std::to_string(v.D);
}

template <class T, class View>
Work describe(EmbeddingFwd<T>& a, View view) {
  view(kOut, a.x);
  view(indices(a.embed.rows), a.tokens);
  view(Use{.rows = a.x.rows}, a.embed);
  view(Use{.rows = a.seq_len}, a.pos);
  return {.shape = dims(a.x)};
}

template <class T, class View>
Work describe(EmbeddingBwd<T>& a, View view) {
  view(Use{Use::Access::in_out, a.dx.rows}, a.dembed);
  view(Use{Use::Access::in_out, a.seq_len}, a.dpos);
  view(kIn, a.dx);
  view(indices(a.dembed.rows), a.tokens);
  view(kScratch, a.scratch);
  return {.shape = dims(a.dx)};
}

template <class T, class View>
Work describe(NormFwd<T>& a, View view) {
  view(kOut.of_token(), a.rstd, a.mean, a.y);
  view(kIn.of_token(), a.x);
  view(kIn, a.w, a.b);
  return {.shape = dims(a.x)};
}

template <class T, class View>
Work describe(NormBwd<T>& a, View view) {
  view(kInOut.of_token(), a.dx);
  view(kInOut, a.dw, a.db);
  view(kIn.of_token(), a.dy, a.x);
  view(kIn, a.w);
  view(Use{.value = 1}.of_token(), a.rstd);
  view(kIn.of_token(), a.mean);
  view(kScratch, a.partial);
  return {.shape = dims(a.x)};
}

template <class T, class View>
Work describe(MatmulFwd<T>& a, View view) {
  view(kOut.of_token(), a.y);
  view(kIn.of_token(), a.x, a.residual);
  view(kIn, a.w, a.bias);
  return {.shape = dims(a.x) + " -> " + std::to_string(a.w.rows) + (a.residual ? " +=" : ""),
          .flops = 2.0 * double(a.x.rows) * double(a.w.rows * a.w.cols)};
}

template <class T, class View>
Work describe(MatmulBwd<T>& a, View view) {
  view((a.dx_accumulate ? kInOut : kOut).of_token(), a.dx);
  view(kInOut, a.dw, a.dbias);
  view(kIn.of_token(), a.dy, a.x);
  view(kIn, a.w);
  const int products = int(bool(a.dx)) + int(bool(a.dw));
  return {.shape = dims(a.x) + " -> " + std::to_string(a.w.rows) + (a.dx_accumulate ? " dx +=" : ""),
          .flops = 2.0 * products * double(a.x.rows) * double(a.w.rows * a.w.cols)};
}

inline std::string name_of(Activation kind) {
  return kind == Activation::swiglu ? " swiglu" : kind == Activation::gelu ? " gelu" : " relu2";
}
template <class T, class View>
Work describe(ActivationFwd<T>& a, View view) {
  view(kOut.of_token(), a.y);
  view(kIn.of_token(), a.gate, a.up);
  return {.shape = dims(a.up) + name_of(a.kind)};
}
template <class T, class View>
Work describe(ActivationBwd<T>& a, View view) {
  view(kOut.of_token(), a.dgate, a.dup);
  view(kIn.of_token(), a.dy, a.gate, a.up);
  return {.shape = dims(a.up) + name_of(a.kind)};
}

// A rotation by 45 degrees preserves lengths, also when repeated in place.
template <class S, class View>
void describe_turn(RopeTable<S>& table, View view) {
  view(Use{.value = std::sqrt(0.5)}.of_position(), table.cos, table.sin);
}
template <class T, class View>
Work describe(RopeFill<T>& a, View view) {
  view(kOut, a.table.cos, a.table.sin);
  return {.shape = dims(a.table.cos)};
}
template <class T, class View>
Work describe(Rope<T>& a, View view) {
  view(kInOut.of_token(), a.x);
  describe_turn(a.table, view);
  return {.shape = dims(a.x) + (a.inverse ? " back" : "")};
}

template <class T, class View>
Work describe(RepeatHeadsFwd<T>& a, View view) {
  view(kOut.of_token(), a.y);
  view(kIn.of_token(), a.x);
  return {.shape = dims(a.y) + " of " + std::to_string(a.x.H)};
}
template <class T, class View>
Work describe(RepeatHeadsBwd<T>& a, View view) {
  view(kOut.of_token(), a.dx);
  view(kIn.of_token(), a.dy);
  return {.shape = dims(a.dy) + " of " + std::to_string(a.dx.H)};
}

template <class X>
double elements(const Heads<X>& v) {
  return double(v.B * v.T) * double(v.H * v.D);
}
template <class T, class View>
Work describe(TensorProductFwd<T>& a, View view) {
  view(kOut.of_token(), a.y);
  view(kIn.of_token(), a.a, a.b);
  return {.shape = dims(a.y) + " rank " + std::to_string(a.a.H),
          .flops = 2 * double(a.a.H) * elements(a.y)};  // heads of a: the R rows
}
template <class T, class View>
Work describe(TensorProductBwd<T>& a, View view) {
  view(kOut.of_token(), a.da, a.db);
  view(kIn.of_token(), a.dy, a.a, a.b);
  return {.shape = dims(a.dy) + " rank " + std::to_string(a.a.H),
          .flops = 4 * double(a.a.H) * elements(a.dy)};
}

inline std::string name_of(HeadEmbeddingForm form) {
  return form == HeadEmbeddingForm::add ? " add" : " mul";
}
template <class T, class View>
Work describe(HeadEmbeddingFwd<T>& a, View view) {
  view(kOut.of_token(), a.y);
  view(kIn.of_token(), a.x);
  view(kIn, a.e);
  return {.shape = dims(a.y) + name_of(a.form)};
}
template <class T, class View>
Work describe(HeadEmbeddingBwd<T>& a, View view) {
  view(kOut.of_token(), a.dx);
  view(kInOut, a.de);
  view(kIn.of_token(), a.dy, a.x);
  view(kIn, a.e);
  view(kScratch, a.partial);
  return {.shape = dims(a.dy) + name_of(a.form)};
}

// Multiply-adds per token: {all, those that backward repeats}.
struct SasMacs {
  double all = 0, repeated = 0;
};
inline SasMacs sas_macs(const SasShape& s) {
  const double conv1 = s.convs ? double(s.K * s.D * s.Hs * s.H) : 0;
  const double conv2 = s.convs ? double(s.K * s.D * s.Hs * s.Hs) : 0;
  const double proj1 = s.projections ? double(s.Hs * s.D * s.E) : 0;
  const double proj2 = s.projections ? double(s.Hs * s.E * s.E) : 0;
  const double all = conv1 + conv2 + proj1 + proj2;
  return {all, all - (s.projections ? proj2 : conv2)};
}
template <class S, class View>
void describe_params(SasParams<S>& p, const Use& use, View view) {
  view(use, p.conv1_w, p.conv2_w, p.proj1_w, p.proj2_w);
  view(use, p.conv1_b, p.conv2_b, p.proj1_b, p.proj2_b);
}
template <class X, class Y>
std::string widened(const Heads<X>& x, const Heads<Y>& y) {
  return dims(x) + " -> " + std::to_string(y.H) + "x" + std::to_string(y.D);
}
template <class T, class View>
Work describe(SasFwd<T>& a, View view) {
  view(kOut.of_token(), a.y);
  view(kIn.of_token(), a.x);
  describe_params(a.w, kIn, view);
  describe_turn(a.rope, view);
  const SasShape s = sas_shape(a.x, a.y, a.w);
  return {.shape = widened(a.x, a.y), .flops = 2 * double(s.tokens) * sas_macs(s).all};
}
template <class T, class View>
Work describe(SasBwd<T>& a, View view) {
  view(kOut.of_token(), a.dx);
  describe_params(a.dw, kInOut, view);
  view(kIn.of_token(), a.dy, a.x);
  describe_params(a.w, kIn, view);
  describe_turn(a.rope, view);
  view(kScratch, a.partial);
  const SasShape s = sas_shape(a.x, a.dy, a.w);
  const SasMacs macs = sas_macs(s);
  return {.shape = widened(a.x, a.dy), .flops = 2 * double(s.tokens) * (2 * macs.all + macs.repeated)};
}

template <class A>
std::string attention_shape(const A& a) {
  const bool windowed = a.mask.window < a.k.T;
  return dims(a.q) + " k " + std::to_string(a.k.H) + " v " + std::to_string(a.v.H) + "x" +
         std::to_string(a.v.D) + (windowed ? " window " + std::to_string(a.mask.window) : "");
}
template <class T, class View>
Work describe(AttentionFwd<T>& a, View view) {
  view(kOut, a.o, a.y, a.lse);
  view(kIn, a.q, a.k, a.v);
  const double pairs = double(a.q.H) * a.mask.pairs(a.q.B, a.start, a.q.T);
  return {.shape = attention_shape(a), .flops = 2 * attention_fwd_macs(pairs, a.q.D, a.v.D)};
}
template <class T, class View>
Work describe(AttentionBwd<T>& a, View view) {
  view(kOut, a.dq, a.dk, a.dv);
  view(kIn, a.dy, a.q, a.k, a.v, a.o);
  view(Use{.value = std::log(double(a.q.T))}, a.lse);  // so that probabilities are near 1/T
  view(kScratch, a.scratch);
  const double pairs = double(a.q.H) * a.mask.pairs(a.q.B, 0, a.q.T);
  return {.shape = attention_shape(a), .flops = 2 * attention_bwd_macs(pairs, a.q.D, a.v.D)};
}

template <class T, class View>
Work describe(HeadGatesFwd<T>& a, View view) {
  view(kOut.of_token(), a.y, a.chosen);
  view(kIn.of_token(), a.x, a.z);
  return {.shape = dims(a.x)};
}
template <class T, class View>
Work describe(HeadGatesBwd<T>& a, View view) {
  view(kInOut.of_token(), a.dy, a.z, a.aux_loss);
  view(kOut, a.load);
  view(kIn.of_token(), a.x);
  view(Use{.below = a.x.H - a.routing.n_shared, .distinct = a.routing.top_k}.of_token(), a.chosen);
  return {.shape = dims(a.x)};
}

template <class T, class View>
Work describe(CrossEntropy<T>& a, View view) {
  view(kOut.of_token(), a.loss);
  view((a.scale != 0 ? kInOut : kIn).of_token(), a.logits);
  view(indices(a.vocab()).of_token(), a.targets);
  view(kInOut.of_token(), a.aux_loss);
  const std::string pad = a.pad > 0 ? " pad " + std::to_string(a.pad) : "";
  const std::string terms =
      std::string(a.softcap != 0 ? " softcap" : "") + (a.z_weight != 0 ? " z-loss" : "");
  return {.shape = dims(a.logits) + pad + terms + (a.scale == 0 ? " loss alone" : "")};
}

template <class T, class View>
Work describe(AdamW<T>& a, View view) {
  view(kInOut.of_token(), a.master, a.m);
  view(Use{.access = Use::Access::in_out, .value = 1}.of_token(), a.v);
  view(kOut.of_token(), a.param);
  view(kIn.of_token(), a.grad);
  return {.shape = std::to_string(a.master.size)};
}

template <class A, class View>
Work describe(Accumulate<A>& a, View view) {
  view(kInOut.of_token(), a.y);
  view(kIn.of_token(), a.x);
  return {.shape = std::to_string(a.y.size)};
}

template <class A, class View>
Work describe(BlockSquares<A>& a, View view) {
  view(kOut, a.out);
  view(kIn, a.x);
  return {.shape = std::to_string(a.x.size)};
}

// The sum of squares, whose arguments are separate in the table.
template <class T>
struct AddSum {
  Vec<double> total;
  Vec<const Accum<T>> x;
};
template <class T, class View>
Work describe(AddSum<T>& a, View view) {
  view(kInOut, a.total);
  view(kIn, a.x);
  return {.shape = std::to_string(a.x.size)};
}

// An operation with one struct of arguments: its name and its table entry.
template <class T, class Args>
struct Operation {
  const char* name;
  void (*Ops<T>::*entry)(Stream, const Args&);
};
template <class T, class Args>
constexpr Operation<T, Args> operation(const char* name, void (*Ops<T>::*entry)(Stream, const Args&)) {
  return {name, entry};
}
template <class T>
constexpr auto kOperations = std::tuple(
    operation("embedding_fwd", &Ops<T>::embedding_fwd), operation("embedding_bwd", &Ops<T>::embedding_bwd),
    operation("norm_fwd", &Ops<T>::norm_fwd), operation("norm_bwd", &Ops<T>::norm_bwd),
    operation("matmul_fwd", &Ops<T>::matmul_fwd), operation("matmul_bwd", &Ops<T>::matmul_bwd),
    operation("activation_fwd", &Ops<T>::activation_fwd),
    operation("activation_bwd", &Ops<T>::activation_bwd), operation("rope_fill", &Ops<T>::rope_fill),
    operation("rope", &Ops<T>::rope), operation("repeat_heads_fwd", &Ops<T>::repeat_heads_fwd),
    operation("repeat_heads_bwd", &Ops<T>::repeat_heads_bwd),
    operation("tensor_product_fwd", &Ops<T>::tensor_product_fwd),
    operation("tensor_product_bwd", &Ops<T>::tensor_product_bwd),
    operation("head_embedding_fwd", &Ops<T>::head_embedding_fwd),
    operation("head_embedding_bwd", &Ops<T>::head_embedding_bwd), operation("sas_fwd", &Ops<T>::sas_fwd),
    operation("sas_bwd", &Ops<T>::sas_bwd), operation("attention_fwd", &Ops<T>::attention_fwd),
    operation("attention_bwd", &Ops<T>::attention_bwd), operation("head_gates_fwd", &Ops<T>::head_gates_fwd),
    operation("head_gates_bwd", &Ops<T>::head_gates_bwd), operation("cross_entropy", &Ops<T>::cross_entropy),
    operation("adamw", &Ops<T>::adamw), operation("accumulate", &Ops<T>::accumulate),
    operation("block_squares", &Ops<T>::block_squares));
constexpr int kSums = 1, kMemoryVerbs = 16;  // allocate .. zero: no computation, not timed

template <class T>
constexpr bool knows_every_operation() {
  return sizeof(Ops<T>) ==
         (std::tuple_size_v<decltype(kOperations<T>)> + kSums + kMemoryVerbs) * sizeof(void (*)());
}
static_assert(
    knows_every_operation<float>(),
    "Ops has an entry that the bench does not know: give it a describe() and a line in kOperations, "
    "or count it among the memory verbs");

// The operation of an argument type: its name, and how to call it.
template <class T, class Args>
struct Launcher {
  static constexpr auto kOperation = std::get<Operation<T, Args>>(kOperations<T>);
  static constexpr const char* kName = kOperation.name;
  static void launch(const Ops<T>& ops, Stream stream, const Args& args) {
    (ops.*kOperation.entry)(stream, args);
  }
};
template <class T>
struct Launcher<T, AddSum<T>> {
  static constexpr const char* kName = "add_sum";
  static void launch(const Ops<T>& ops, Stream stream, const AddSum<T>& a) {
    ops.add_sum(stream, a.total.data, a.x);
  }
};

}  // namespace saslm
