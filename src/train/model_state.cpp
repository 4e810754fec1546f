#include "train/model_state.h"

#include <algorithm>

#include "core/bf16.h"
#include "core/error.h"
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

// Of tensors `of` which this is so, with their gaps; each rank's part where they are shared.
template <class T>
Kept<T> kept_of(const Layout<T>& layout, const StateSlot& slot, const std::string& prefix,
                const std::vector<Holding>& updated, bool shared) {
  Kept<T> kept{.prefix = prefix};
  std::vector<Range> ranges;
  for (const ParamSpec& spec : layout.params()) {
    if (!slot.of(spec)) continue;
    kept.tensors.push_back(&spec);
    ranges.push_back({spec.offset, spec.room});
  }
  kept.all = packed(ranges);
  if (shared)
    for (const Holding& own : updated) kept.of_rank.push_back(common(kept.all, own));
  return kept;
}

}  // namespace

template <class T>
int64_t Kept<T>::most() const {
  if (of_rank.empty()) return size_of(all);
  int64_t most = 0;
  for (const Holding& own : of_rank) most = std::max(most, size_of(own));
  return most;
}

template <class T>
StatePlan<T>::StatePlan(Layout<T>& layout, const std::vector<StateSlot>& slots, const SumPlan<T>& sum,
                        bool snapshot)
    : layout_(layout), handed_over_(std::max(Shares::kBlock, sum.sharing.bucket / sum.shares.ranks())) {
  for (int64_t rank = 0; rank < sum.shares.ranks(); ++rank)
    updated_.push_back(sum.sharded() ? sum.shares.of(rank) : packed({{0, layout.param_elements()}}));
  weights_ = kept_of(layout, {}, "", updated_, sum.sharded() && !std::is_same_v<T, Accum<T>>);
  if (!layout.training()) return;
  if (!weights_.of_rank.empty()) layout.pack_masters(weights_.most());
  for (const StateSlot& slot : slots) {
    slots_.push_back(kept_of(layout, slot, slot.name + ".", updated_, sum.sharded()));
    slots_.back().memory = layout.template vec<Accum<T>>(Region::optimizer, slot.name, slots_.back().most());
  }
  if (snapshot) snapshot_ = layout.template vec<float>(Region::snapshot, "snapshot", elements());
}

template <class T>
int64_t StatePlan<T>::elements() const {
  int64_t sum = size_of(weights_.all);
  for (const Kept<T>& slot : slots_) sum += size_of(slot.all);
  return sum;
}

template <class T>
StateTensors StatePlan<T>::names() const {
  StateTensors names;
  for (const ParamSpec* spec : weights_.tensors) names.weights.push_back({spec->name, spec->shape, {}});
  for (const Kept<T>& slot : slots_)
    for (const ParamSpec* spec : slot.tensors)
      names.optimizer.push_back({slot.prefix + spec->name, spec->shape, {}});
  return names;
}

template <class T>
ModelState<T>::ModelState(const StatePlan<T>& plan, const Backend<T>& backend, const Communicator& comm)
    : plan_(plan), backend_(backend), comm_(comm) {
  const auto name = [&](const Kept<T>& kept) {
    for (const ParamSpec* spec : kept.tensors) by_name_[kept.prefix + spec->name] = {&kept, spec};
  };
  name(plan.weights());
  for (const Kept<T>& slot : plan.slots()) name(slot);
  if (!plan.layout().training()) return;
  const Arena<T>& arena = backend.arena;
  for (const ParamSpec& spec : plan.layout().params())
    for (const Share& share : plan.updated_by(comm.rank())) {
      const Range range = share.within({spec.offset, spec.size}).range;
      if (range.size == 0) continue;
      TensorPart<T> part{.spec = &spec,
                         .master = elements(plan.weights(), range),
                         .grad = {arena.gradients().data + range.first, range.size}};
      if constexpr (!std::is_same_v<T, Accum<T>>)
        part.param = {arena.template whole<T>(Region::parameters).data + range.first, range.size};
      for (const Kept<T>& slot : plan.slots()) {
        const bool of_this = std::find(slot.tensors.begin(), slot.tensors.end(), &spec) != slot.tensors.end();
        part.state.push_back(of_this ? elements(slot, range) : Vec<Accum<T>>{});
      }
      parts_.push_back(std::move(part));
    }
}

template <class T>
Accum<T>* ModelState<T>::memory_of(const Kept<T>& kept) const {
  return kept.memory ? backend_.arena.at(kept.memory).data
                     : backend_.arena.template whole<Accum<T>>(Region::masters).data;
}

template <class T>
Vec<Accum<T>> ModelState<T>::elements(const Kept<T>& kept, Range range) const {
  return {memory_of(kept) + place_of(kept.held_by(comm_.rank()), range), range.size};
}

template <class T>
bool ModelState<T>::in_place(const Kept<T>& kept) const {
  return backend_.ops.host_memory && kept.of_rank.empty();
}

template <class T>
void ModelState<T>::initialise(uint64_t seed) {
  using A = Accum<T>;
  constexpr int64_t kChunk = int64_t(1)
                             << 18;  // values on their way to the backend: the plan knows no more memory
  std::vector<A> values(kChunk);
  for (const ParamSpec& spec : plan_.layout().params()) {
    const uint64_t key = stream_key(seed, spec.name);
    for (int64_t first = 0; first < spec.size; first += kChunk) {
      const int64_t count = std::min(kChunk, spec.size - first);
#pragma omp parallel for
      for (int64_t i = 0; i < count; ++i) values[size_t(i)] = A(initial_value(spec.init, key, first + i));
      put(plan_.weights(), spec.offset + first, values.data(), count);
    }
  }
}

template <class T>
void ModelState<T>::store(const ConstNamedTensor& tensor) {
  const auto found = by_name_.find(tensor.name);
  check(found != by_name_.end() && int64_t(tensor.data.size()) == found->second.second->size,
        "what is stored is a tensor of this model's state");
  if constexpr (std::is_same_v<Accum<T>, float>)
    put(*found->second.first, found->second.second->offset, tensor.data.data(), int64_t(tensor.data.size()));
  else
    throw ShapeError("internal error: files hold floats");
}

template <class T>
void ModelState<T>::put(const Kept<T>& kept, int64_t first, const Accum<T>* values, int64_t count) {
  using A = Accum<T>;
  const Region masters = Region::masters;
  const bool is_weights = &kept == &plan_.weights();
  if (!is_weights || std::is_same_v<T, A> || plan_.layout().region_bytes(masters) > 0)
    for (const Share& share : kept.held_by(comm_.rank()))
      if (const Share part = share.within({first, count}); part.range.size > 0)
        backend_.ops.copy_in(backend_.stream, memory_of(kept) + part.packed,
                             values + (part.range.first - first), size_t(part.range.size) * sizeof(A));
  if constexpr (!std::is_same_v<T, A>) {
    if (!is_weights) return;
    std::vector<T> stored(static_cast<size_t>(count));
    std::transform(values, values + count, stored.begin(), [](A x) { return T(x); });
    backend_.ops.copy_in(backend_.stream, backend_.arena.template whole<T>(Region::parameters).data + first,
                         stored.data(), stored.size() * sizeof(T));
  }
}

template <class T>
std::vector<ConstNamedTensor> ModelState<T>::named(const Kept<T>& kept, const Accum<T>* all) const {
  std::vector<ConstNamedTensor> tensors;
  if constexpr (std::is_same_v<Accum<T>, float>)
    for (const ParamSpec* spec : kept.tensors) {
      const int64_t place = place_of(kept.all, {spec->offset, spec->size});
      tensors.push_back({kept.prefix + spec->name, spec->shape, {all + place, size_t(spec->size)}});
    }
  else
    throw ShapeError("internal error: files hold floats");
  return tensors;
}

template <class T>
StateTensors ModelState<T>::fetch() const {
  StateTensors state;
  check(plan_.layout().training() || std::is_same_v<T, Accum<T>>, "fp32 weights are kept for training alone");
  const auto take = [&](const Kept<T>& kept, std::vector<ConstNamedTensor>& into) {
    const Accum<T>* values = memory_of(kept);
    if constexpr (std::is_same_v<Accum<T>, float>)
      if (!in_place(kept)) {
        std::vector<float> copy(size_t(comm_.first() ? size_of(kept.all) : 0));
        copy_all(kept, copy.data());
        values = copy.data();
        state.memory.push_back(std::make_unique<const std::vector<float>>(std::move(copy)));
      }
    if (!comm_.first()) return;
    const auto tensors = named(kept, values);
    into.insert(into.end(), tensors.begin(), tensors.end());
  };
  take(plan_.weights(), state.weights);
  for (const Kept<T>& slot : plan_.slots()) take(slot, state.optimizer);
  return state;
}

template <class T>
StateTensors ModelState<T>::snapshot() {
  StateTensors state;
  if constexpr (std::is_same_v<Accum<T>, float>) {
    if (comm_.first() && !plan_.snapshot()) snapshot_.resize(size_t(plan_.elements()));
    float* next = plan_.snapshot() ? backend_.arena.at(plan_.snapshot()).data : snapshot_.data();
    const auto take = [&](const Kept<T>& kept, std::vector<ConstNamedTensor>& into) {
      copy_all(kept, next);
      if (!comm_.first()) return;
      const auto tensors = named(kept, next);
      into.insert(into.end(), tensors.begin(), tensors.end());
      next += size_of(kept.all);
    };
    take(plan_.weights(), state.weights);
    for (const Kept<T>& slot : plan_.slots()) take(slot, state.optimizer);
  }
  return state;
}

template <class T>
StateTensors ModelState<T>::gradients() const {
  StateTensors state;
  std::vector<Accum<T>> copy(size_t(plan_.layout().param_elements()));
  backend_.ops.copy_out(backend_.stream, copy.data(), backend_.arena.gradients().data,
                        copy.size() * sizeof(Accum<T>));
  state.weights = named(plan_.weights(), copy.data());
  if constexpr (std::is_same_v<Accum<T>, float>)
    state.memory.push_back(std::make_unique<const std::vector<float>>(std::move(copy)));
  return state;
}

template <class T>
void ModelState<T>::copy_all(const Kept<T>& kept, float* all) const {
  if (!kept.of_rank.empty())
    gather(kept, all);
  else if (comm_.first())
    backend_.ops.copy_out(backend_.stream, all, memory_of(kept), size_t(size_of(kept.all)) * sizeof(float));
}

// Part by part, so that only the first rank needs memory for everything, and no device.
template <class T>
void ModelState<T>::gather(const Kept<T>& kept, float* all) const {
  const int64_t most = kept.most(), longest = plan_.handed_over();
  for (int64_t first = 0; first < most; first += longest) {
    const Range part{first, std::min(longest, most - first)};
    std::vector<float> mine(size_t(part.size)),
        theirs(comm_.first() ? mine.size() * size_t(comm_.size()) : 0);
    const int64_t own = std::clamp<int64_t>(size_of(kept.held_by(comm_.rank())) - first, 0, part.size);
    if (own > 0)
      backend_.ops.copy_out(backend_.stream, mine.data(), memory_of(kept) + first,
                            size_t(own) * sizeof(float));
    comm_.collect(std::as_bytes(std::span(mine)), std::as_writable_bytes(std::span(theirs)),
                  "gathering of the optimizer's state");
    if (!comm_.first()) continue;
    for (int rank = 0; rank < comm_.size(); ++rank)
      for (const Share& share : kept.held_by(rank)) {
        const int64_t begin = std::max(first, share.packed);  // of what is in this part, as the rank packs it
        const int64_t count = std::min(part.end(), share.packed + share.range.size) - begin;
        if (count <= 0) continue;
        const float* const from = theirs.data() + rank * part.size + (begin - first);
        std::copy_n(from, count, all + place_of(kept.all, {share.range.first + begin - share.packed, count}));
      }
  }
}

template struct Kept<float>;
template struct Kept<double>;
template struct Kept<bf16>;
template class StatePlan<float>;
template class StatePlan<double>;
template class StatePlan<bf16>;
template class ModelState<float>;
template class ModelState<double>;
template class ModelState<bf16>;

}  // namespace saslm
