// A stage of the attention sublayer, which is a projection and a list of stages (attention.h):
//
//   project -> stages on q, k, v -> core -> stages on heads -> W_O
//
// A stage is one class in files of its own, its forward beside its backward, and one name in stages.h. It is
// built with the buffers that it reads, and declares what it makes of them and the gradients that the next
// stage fills. What its class tells without an object are the static members below, which a stage may hide by
// its own; it must have
//
//   static constexpr const char* kName           its JSON key, or a word for it
//   static bool present(const AttentionConfig&)  whether the sublayers of a model have it
#pragma once
#include "model/projection.h"

namespace saslm {

template <class T>
class Stage {
 public:
  static constexpr bool kAddsLoss = false;  // its backward adds to Exec::aux_loss

  virtual ~Stage() = default;

  virtual int64_t macs() const = 0;  // multiply-adds per token, forward

  // Scratch of its own backward, in a scope of its own; after the gradients of all stages, which live longer.
  virtual void declare_scratch(Layout<T>&) {}

  // Makes the output of the input. h: what the sublayer gets, normalised (N, C).
  virtual void fwd(const Exec<T>& e, Mat<const T> h) const = 0;
  // The input's gradients = from the output's; the weights' gradients +=
  virtual void bwd(const Exec<T>& e) const = 0;
  // After that, for stages that read h: dh +=; the gradients of the weights that it went through +=
  virtual void bwd_h(const Exec<T>&, Mat<T> /*dh*/, Mat<const T> /*h*/) const {}
};

// ---- Before the core: of q, k and v.

template <class T>
struct QkvSpec : Sublayer<T> {
  Qkv<T> in, in_grads;        // in_grads: absent in inference
  Region k_region, v_region;  // of what it makes: tables when they serve as the cache
};

template <class T>
class QkvStage : public Stage<T> {
 public:
  static constexpr bool kRotates = false;                        // so that the projection does not
  static bool makes_v(const AttentionConfig&) { return false; }  // else v is its input's

  virtual Qkv<T> out() const = 0;
  virtual Qkv<T> out_grads() const = 0;
  // Whether out() is scratch, which backward has fwd make again.
  virtual bool is_remade() const { return false; }
};

// ---- After the core: of its heads.

template <class T>
struct HeadsSpec : Sublayer<T> {
  Slot<Heads<T>> in, in_grad;  // in_grad: absent in inference, and for a stage in the core
};

template <class T>
class HeadsStage : public Stage<T> {
 public:
  // The core computes it, as the first after it: it writes out() beside its own heads, and its backward
  // starts from out_grad(). fwd and bwd then have nothing to do.
  static constexpr bool kInCore = false;

  virtual Slot<Heads<T>> out() const = 0;
  virtual Slot<Heads<T>> out_grad() const = 0;  // in_grad, when it is changed in place
};

}  // namespace saslm
