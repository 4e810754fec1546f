// x -> q, k, v per head: one class for each way to make them (project_*.cpp), chosen by the type of the
// configuration. What follows (SAS, the attention core) sees only head buffers.
#pragma once
#include <memory>

#include "model/module.h"

namespace saslm {

template <class T>
struct Qkv {
  Slot<Heads<T>> q, k, v;
  int64_t v_modulo = 0;  // query head h reads the v head that query head h mod this would; 0: its own
};

template <class T>
class Projection {
 public:
  virtual ~Projection() = default;

  virtual int64_t macs() const = 0;     // multiply-adds per token, forward
  virtual bool has_biases() const = 0;  // of its linears, and of the output's

  // (B, T, H, E), (B, T, Gk, E), (B, T, Gv, Dv); this call's rows are written by fwd.
  virtual Qkv<T> out() const = 0;
  virtual void fwd(const Exec<T>& e, Mat<const T> x) const = 0;

  // Gradient buffers (scratch) of the same shapes: the caller fills them, bwd may overwrite them.
  virtual Qkv<T> out_grads() const = 0;
  // dx = ; the weights' gradients +=
  virtual void bwd(const Exec<T>& e, Mat<T> dx, Mat<const T> x) const = 0;
};

// What all parts of a layer's attention are built with.
template <class T>
struct Sublayer {
  Layout<T>& layout;
  const ModelConfig& model;
  RunShape run;
  std::string name;   // "layers.0.attn."
  RopeSlots<T> rope;  // absent when this part does not rotate
};

template <class T>
struct ProjectionSpec : Sublayer<T> {
  Region k_region, v_region;  // tables when they serve as the cache
};

// mha, mqa, gqa: four linear layers, G key/value heads.
template <class T>
std::unique_ptr<Projection<T>> make_projection(const GqaConfig&, const ProjectionSpec<T>&);

// mla: q, k and v from two latents; only a part of q and k is rotated.
template <class T>
std::unique_ptr<Projection<T>> make_projection(const MlaConfig&, const ProjectionSpec<T>&);

// tpa: q, k and v as means of R products.
template <class T>
std::unique_ptr<Projection<T>> make_projection(const TpaConfig&, const ProjectionSpec<T>&);

// mhe: q, k and v of one head each, told apart by an embedding per head.
template <class T>
std::unique_ptr<Projection<T>> make_projection(const MheConfig&, const ProjectionSpec<T>&);

}  // namespace saslm
