#include "train/engine.h"

#include <algorithm>
#include <cmath>

#include "core/bf16.h"
#include "core/rng.h"

namespace saslm {
namespace {

double initial_value(const Init& init, uint64_t key, int64_t index) {
  double value = init.plus ? init.plus(index) : 0;
  switch (init.draw) {
    case Init::Draw::none:
      break;
    case Init::Draw::normal:
      value += init.scale * normal(key, uint64_t(index));
      break;
    case Init::Draw::uniform:
      value += init.scale * (2 * uniform(key, uint64_t(index)) - 1);
      break;
  }
  return value;
}

}  // namespace

template <class T>
void Engine<T>::zero_totals() const {
  const Vec<double> totals = model_.totals(arena_);
  ops_.zero(stream(), totals.data, size_t(totals.size) * sizeof(double));
}

template <class T>
void Engine<T>::begin_step() const {
  micro_ = 0;
  zero_totals();
}

template <class T>
void Engine<T>::add_loss_and_grads(TokenBatch batch, double scale) const {
  batch.micro = micro_++;
  const Arena<T> leaf = gradient_sum_.begin(ops_, stream(), arena_, batch.micro);
  model_.add_loss_and_grads({ops_, leaf, stream()}, batch, scale);
  gradient_sum_.end(ops_, stream(), arena_, batch.micro);
}

template <class T>
typename Engine<T>::Totals Engine<T>::end_step() const {
  using Model = Transformer<T>;
  const Vec<double> totals = model_.totals(arena_);
  check(micro_ * Model::kTotals + 1 == totals.size, "a step computes all of its micro-batches");
  gradient_sum_.over_ranks(ops_, stream(), arena_, comm_);
  // The gaps between tensors are zero, so the region is summed as one vector.
  ops_.add_sum_squares(stream(), totals.data + totals.size - 1, arena_.gradients());
  std::vector<double> read(size_t(totals.size));
  ops_.copy_out(stream(), read.data(), totals.data, read.size() * sizeof(double));
  Totals result{.grad_norm = std::sqrt(read.back())};
  read.pop_back();
  double aux_loss = 0;
  const std::vector<double> of_all = gather_numbers(comm_, read, "sum of losses");
  for (size_t micro = 0; micro < of_all.size(); micro += Model::kTotals) {
    result.loss += of_all[micro + Model::kLoss];
    aux_loss += of_all[micro + Model::kAuxLoss];
  }
  if (model_.has_aux_loss()) result.aux_loss = aux_loss;
  return result;
}

template <class T>
double Engine<T>::loss(const TokenBatch& batch) const {
  zero_totals();
  model_.add_loss(backend(), batch);
  double loss = 0;
  ops_.copy_out(stream(), &loss, model_.totals(arena_).data + Transformer<T>::kLoss, sizeof loss);
  return loss;
}

template <class T>
std::vector<NamedTensor> Engine<T>::fetch(Region region, const std::string& prefix) const requires kStorable {
  float* values = arena_.template whole<float>(region).data;
  if (!ops_.host_memory) {
    std::vector<float>& copy = copies_[region];
    copy.resize(size_t(layout_.param_elements()));
    if (layout_.region_bytes(region) > 0)
      ops_.copy_out(stream(), copy.data(), values, copy.size() * sizeof(float));
    values = copy.data();
  }
  std::vector<NamedTensor> named;
  for (const ParamSpec& spec : layout_.params())
    named.push_back({prefix + spec.name, spec.shape, {values + spec.offset, size_t(spec.size)}});
  return named;
}

template <class T>
void Engine<T>::store(Region region) const requires kStorable {
  if (ops_.host_memory) return;
  const std::vector<float>& copy = copies_.at(region);
  if (region != Region::masters) {
    ops_.copy_in(stream(), arena_.template whole<float>(region).data, copy.data(),
                 copy.size() * sizeof(float));
    return;
  }
  for (const ParamSpec& spec : layout_.params())
    put_weights(spec, 0, {copy.data() + spec.offset, size_t(spec.size)});
}

template <class T>
void Engine<T>::put_weights(const ParamSpec& spec, int64_t first, std::span<const Accum<T>> values) const {
  using A = Accum<T>;
  const size_t count = values.size();
  if (layout_.region_bytes(Region::masters) > 0 || std::is_same_v<T, A>)
    ops_.copy_in(stream(), arena_.template tensor<A>(Region::masters, spec).data + first, values.data(),
                 count * sizeof(A));
  if constexpr (!std::is_same_v<T, A>) {
    std::vector<T> stored(count);
    std::transform(values.begin(), values.end(), stored.begin(), [](A x) { return T(x); });
    ops_.copy_in(stream(), arena_.template tensor<T>(Region::parameters, spec).data + first, stored.data(),
                 count * sizeof(T));
  }
}

template <class T>
void Engine<T>::initialise(uint64_t seed) const {
  using A = Accum<T>;
  constexpr int64_t kChunk = int64_t(1)
                             << 18;  // values on their way to the backend: the plan knows no more memory
  std::vector<A> values(kChunk);
  for (const ParamSpec& spec : layout_.params()) {
    const uint64_t key = stream_key(seed, spec.name);
    for (int64_t first = 0; first < spec.size; first += kChunk) {
      const int64_t count = std::min(kChunk, spec.size - first);
#pragma omp parallel for
      for (int64_t i = 0; i < count; ++i) values[size_t(i)] = A(initial_value(spec.init, key, first + i));
      put_weights(spec, first, {values.data(), size_t(count)});
    }
  }
}

template class Engine<float>;
template class Engine<double>;
template class Engine<bf16>;

}  // namespace saslm
