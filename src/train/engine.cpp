#include "train/engine.h"

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
void Engine<T>::initialise(uint64_t seed) const {
  using A = Accum<T>;
  std::vector<A> values;
  for (const ParamSpec& spec : layout_.params()) {
    const uint64_t key = stream_key(seed, spec.name);
    values.resize(size_t(spec.size));
#pragma omp parallel for
    for (int64_t i = 0; i < spec.size; ++i) values[size_t(i)] = A(initial_value(spec.init, key, i));
    ops_.copy_in({}, arena_.template tensor<A>(Region::masters, spec).data, values.data(),
                 values.size() * sizeof(A));
  }
}

template class Engine<float>;
template class Engine<double>;

}  // namespace saslm
