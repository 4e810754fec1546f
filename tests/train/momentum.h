// An optimizer for tests, on the CPU: what a rule is like that needs whole matrices and keeps something of
// some tensors alone. With c for the clip factor, a matrix of a block has the slot "momentum", M, and
//
//   M = 0.9 M + c g,   p -= lr M / (|M| + 1e-8)
//
// where |M| is the root of its mean square, added up in the order of the elements: a part of a matrix would
// have another. The other tensors have no state, and may be cut: p -= lr c g.
#pragma once
#include <gtest/gtest.h>

#include <cmath>

#include "train/optimizer.h"

namespace saslm {

class Momentum : public Optimizer<float> {
 public:
  std::vector<StateSlot> slots() const override { return {{"momentum", of_blocks}}; }
  bool whole(const ParamSpec& spec) const override { return of_blocks(spec); }

  void update(const Backend<float>&, const TensorPart<float>& part, const UpdateStep& step) const override {
    const float lr = float(step.lr), scale = float(step.grad_scale);
    const Vec<float> p = part.master, m = part.state[0];
    EXPECT_EQ(bool(m), of_blocks(*part.spec));
    if (!m) {
      for (int64_t i = 0; i < p.size; ++i) p[i] -= lr * scale * part.grad[i];
      return;
    }
    EXPECT_EQ(p.size, part.spec->size) << part.spec->name;
    double square = 0;
    for (int64_t i = 0; i < m.size; ++i) {
      m[i] = 0.9f * m[i] + scale * part.grad[i];
      square += double(m[i]) * double(m[i]);
    }
    const float norm = float(std::sqrt(square / double(m.size))) + 1e-8f;
    for (int64_t i = 0; i < p.size; ++i) p[i] -= lr * m[i] / norm;
  }

  static bool of_blocks(const ParamSpec& spec) {
    return spec.name.starts_with("layers.") && spec.shape.size() == 2;
  }
};

inline std::unique_ptr<const Optimizer<float>> make_momentum(Layout<float>&, const OptimConfig&) {
  return std::make_unique<Momentum>();
}

}  // namespace saslm
