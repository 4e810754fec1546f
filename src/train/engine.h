// A model with its memory and its backend: what training, evaluation, generation and the benchmarks start
// from.
#pragma once
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"
#include "core/arena.h"
#include "core/layout.h"
#include "model/transformer.h"
#include "ops/ops.h"

namespace saslm {

template <class T>
class Engine {
 public:
  Engine(const ModelConfig& config, const RunShape& run, Mode mode, const Ops<T>& ops)
      : layout_(mode), model_(layout_, config, run), arena_(layout_), ops_(ops) {
    model_.prepare(ops_, arena_);
  }

  const Layout<T>& layout() const { return layout_; }
  const Transformer<T>& model() const { return model_; }
  const Arena<T>& arena() const { return arena_; }
  const Ops<T>& ops() const { return ops_; }

  double loss(const TokenBatch& batch) const { return model_.loss(ops_, arena_, batch); }
  double loss_and_grads(const TokenBatch& batch, double scale) const {
    return model_.loss_and_grads(ops_, arena_, batch, scale);
  }
  std::optional<double> aux_loss() const { return model_.aux_loss(ops_, arena_); }
  void zero_gradients() const {
    const Vec<Accum<T>> g = arena_.gradients();
    ops_.zero({}, g.data, size_t(g.size) * sizeof(Accum<T>));
  }

  // Every weight, or its moment, by its checkpoint name.
  std::vector<NamedTensor> tensors(Region region, const std::string& prefix = "") const {
    std::vector<NamedTensor> named;
    for (const ParamSpec& spec : layout_.params()) {
      const Vec<float> values = arena_.template tensor<float>(region, spec);
      named.push_back({prefix + spec.name, spec.shape, {values.data, size_t(values.size)}});
    }
    return named;
  }

  // What a seed makes of the parameter table: an element depends on (seed, tensor name, index) alone.
  void initialise(uint64_t seed) const;

 private:
  Layout<T> layout_;
  Transformer<T> model_;
  Arena<T> arena_;
  const Ops<T>& ops_;
};

}  // namespace saslm
