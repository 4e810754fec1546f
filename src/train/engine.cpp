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
  gradient_sum_.await_weights(place());
  micro_ = 0;
  zero_totals();
}

template <class T>
void Engine<T>::add_loss_and_grads(TokenBatch batch, double scale) const {
  batch.micro = micro_++;
  const Arena<T> leaf = gradient_sum_.begin(place(), batch.micro);
  model_.add_loss_and_grads({ops_, leaf, stream()}, batch, scale, [&](int64_t first, int64_t end) {
    gradient_sum_.add(place(), batch.micro, {first, end - first});
  });
}

template <class T>
typename Engine<T>::Totals Engine<T>::end_step() const {
  using Model = Transformer<T>;
  const Vec<double> totals = model_.totals(arena_);
  check(micro_ * Model::kTotals == totals.size, "a step computes all of its micro-batches");
  gradient_sum_.finish(place());
  const Vec<double> squares = gradient_sum_.squares(place());
  comm_.wait(stream(), "sum of gradients");
  std::vector<double> read(size_t(totals.size + squares.size));
  ops_.copy_out(stream(), read.data(), totals.data, size_t(totals.size) * sizeof(double));
  ops_.copy_out(stream(), read.data() + totals.size, squares.data, size_t(squares.size) * sizeof(double));
  const std::vector<double> of_all = gather_numbers(comm_, read, "sum of losses");
  Totals result{.grad_norm = std::sqrt(gradient_sum_.add_up(of_all.data() + totals.size, read.size()))};
  double aux_loss = 0;
  for (size_t rank = 0; rank < of_all.size(); rank += read.size())
    for (size_t micro = rank; micro < rank + size_t(totals.size); micro += Model::kTotals) {
      result.loss += of_all[micro + Model::kLoss];
      aux_loss += of_all[micro + Model::kAuxLoss];
    }
  if (model_.has_aux_loss()) result.aux_loss = aux_loss;
  return result;
}

template <class T>
double Engine<T>::loss(const TokenBatch& batch) const {
  gradient_sum_.await_weights(place());
  zero_totals();
  model_.add_loss(backend(), batch);
  double loss = 0;
  ops_.copy_out(stream(), &loss, model_.totals(arena_).data + Transformer<T>::kLoss, sizeof loss);
  return loss;
}

template <class T>
std::vector<NamedTensor> Engine<T>::named(const std::string& prefix, float* values) const {
  check(std::is_same_v<Accum<T>, float>, "files hold floats");
  std::vector<NamedTensor> tensors;
  for (const ParamSpec& spec : layout_.params())
    tensors.push_back({prefix + spec.name, spec.shape, {values + spec.offset, size_t(spec.size)}});
  return tensors;
}

template <class T>
std::vector<NamedTensor> Engine<T>::room_for(Region region, const std::string& prefix) const {
  if (is_hosts(region)) return named(prefix, arena_.template whole<float>(region).data);
  std::vector<float>& copy = copies_[region];
  copy.resize(size_t(layout_.param_elements()));
  return named(prefix, copy.data());
}

template <class T>
std::vector<NamedTensor> Engine<T>::fetch(Region region, const std::string& prefix) const {
  std::vector<NamedTensor> tensors;
  if (comm_.first()) tensors = room_for(region, prefix);
  if (!is_hosts(region)) copy_all(region, comm_.first() ? copies_[region].data() : nullptr);
  return tensors;
}

template <class T>
std::vector<NamedTensor> Engine<T>::snapshot(Region region, const std::string& prefix) const {
  if (comm_.first() && !snapshot_) return fetch(region, prefix);
  float* values = nullptr;
  if (comm_.first()) {
    const int64_t place = region == Region::masters ? 0 : region == Region::moment1 ? 1 : 2;
    values = arena_.at(snapshot_).data + place * layout_.param_elements();
  }
  copy_all(region, values);
  return comm_.first() ? named(prefix, values) : std::vector<NamedTensor>{};
}

template <class T>
void Engine<T>::copy_all(Region region, float* all) const {
  gradient_sum_.await_weights(place());
  if (layout_.packed(region))
    gather(region, all);
  else if (comm_.first() && arena_.template whole<float>(region).size > 0)
    ops_.copy_out(stream(), all, arena_.template whole<float>(region).data,
                  size_t(layout_.param_elements()) * sizeof(float));
}

// Bucket by bucket, so that only the first rank needs memory for everything, and no device.
template <class T>
void Engine<T>::gather(Region region, float* all) const {
  const Shares& shares = gradient_sum_.shares();
  const float* mine = arena_.template whole<float>(region).data;
  for (int64_t bucket = 0; bucket < shares.buckets(); ++bucket) {
    const size_t stride = size_t(shares.owned(bucket, 0).size);  // nobody has more
    std::vector<float> part(stride), parts(comm_.first() ? stride * size_t(comm_.size()) : 0);
    const int64_t size = shares.owned(bucket, comm_.rank()).size;
    if (size > 0) ops_.copy_out(stream(), part.data(), mine, size_t(size) * sizeof(float));
    mine += size;
    comm_.collect(std::as_bytes(std::span(part)), std::as_writable_bytes(std::span(parts)),
                  "gathering of the optimizer's state");
    if (!comm_.first()) continue;
    for (int rank = 0; rank < comm_.size(); ++rank) {
      const Range range = shares.owned(bucket, rank);
      std::copy_n(parts.data() + size_t(rank) * stride, range.size, all + range.first);
    }
  }
}

template <class T>
void Engine<T>::store(Region region) const {
  if (is_hosts(region)) return;
  const std::vector<float>& all = copies_.at(region);
  if constexpr (std::is_same_v<Accum<T>, float>)
    for (const ParamSpec& spec : layout_.params())
      put(region, spec.offset, {all.data() + spec.offset, size_t(spec.size)});
  copies_.erase(region);
}

template <class T>
std::vector<ConstNamedTensor> Engine<T>::tensors(const std::string& prefix) const {
  std::vector<ConstNamedTensor> all;
  for (const ParamSpec& spec : layout_.params()) all.push_back({prefix + spec.name, spec.shape, {}});
  return all;
}

template <class T>
void Engine<T>::store(Region region, const ConstNamedTensor& tensor, const std::string& prefix) const {
  const auto& params = layout_.params();
  const auto spec = std::find_if(params.begin(), params.end(),
                                 [&](const ParamSpec& one) { return prefix + one.name == tensor.name; });
  check(spec != params.end() && std::is_same_v<Accum<T>, float>, "what is stored is a weight of this model");
  if constexpr (std::is_same_v<Accum<T>, float>) put(region, spec->offset, tensor.data);
}

template <class T>
void Engine<T>::put(Region region, int64_t first, std::span<const Accum<T>> values) const {
  gradient_sum_.await_weights(place());
  using A = Accum<T>;
  const Range range{first, int64_t(values.size())};
  if (region != Region::masters || std::is_same_v<T, A> || layout_.region_bytes(region) > 0)
    for (const Share& share : layout_.packed(region) ? updated_ : std::vector<Share>{{range, first}})
      if (const Share part = share.within(range); part.range.size > 0)
        ops_.copy_in(stream(), elements<A>(region, part).data, values.data() + (part.range.first - first),
                     size_t(part.range.size) * sizeof(A));
  if constexpr (!std::is_same_v<T, A>) {
    if (region != Region::masters) return;
    std::vector<T> stored(values.size());
    std::transform(values.begin(), values.end(), stored.begin(), [](A x) { return T(x); });
    ops_.copy_in(stream(), arena_.template whole<T>(Region::parameters).data + first, stored.data(),
                 stored.size() * sizeof(T));
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
      put(Region::masters, spec.offset + first, {values.data(), size_t(count)});
    }
  }
}

template class Engine<float>;
template class Engine<double>;
template class Engine<bf16>;

}  // namespace saslm
