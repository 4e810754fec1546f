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
  constexpr int64_t kChunk = int64_t(1)
                             << 18;  // values on their way to the backend: the plan knows no more memory
  std::vector<A> values(kChunk);
  for (const ParamSpec& spec : layout_.params()) {
    const uint64_t key = stream_key(seed, spec.name);
    const Vec<A> to = arena_.template tensor<A>(Region::masters, spec);
    for (int64_t first = 0; first < spec.size; first += kChunk) {
      const int64_t count = std::min(kChunk, spec.size - first);
#pragma omp parallel for
      for (int64_t i = 0; i < count; ++i) values[size_t(i)] = A(initial_value(spec.init, key, first + i));
      ops_.copy_in({}, to.data + first, values.data(), size_t(count) * sizeof(A));
    }
  }
}

template class Engine<float>;
template class Engine<double>;

}  // namespace saslm
