// A projection that makes q, k and v each by a stream of the same class, which has fwd(e, x), bwd(e, dx, x,
// mode), y(), y_grad() and macs(). There are no biases.
#pragma once
#include "model/linear.h"
#include "model/projection.h"

namespace saslm {

template <class T, class Stream>
class ThreeStreams : public Projection<T> {
 public:
  ThreeStreams(Stream q, Stream k, Stream v) : q_(std::move(q)), k_(std::move(k)), v_(std::move(v)) {}

  int64_t macs() const override { return q_.macs() + k_.macs() + v_.macs(); }
  bool has_biases() const override { return false; }
  Qkv<T> out() const override { return {q_.y(), k_.y(), v_.y()}; }
  Qkv<T> out_grads() const override { return {q_.y_grad(), k_.y_grad(), v_.y_grad()}; }

  void fwd(const Exec<T>& e, Mat<const T> x) const override {
    q_.fwd(e, x);
    k_.fwd(e, x);
    v_.fwd(e, x);
  }

  void bwd(const Exec<T>& e, Mat<T> dx, Mat<const T> x) const override {
    q_.bwd(e, dx, x, Linear<T>::Dx::set);
    k_.bwd(e, dx, x, Linear<T>::Dx::add);
    v_.bwd(e, dx, x, Linear<T>::Dx::add);
  }

 protected:
  Stream q_, k_, v_;
};

}  // namespace saslm
