#include "train/blueprint.h"

namespace saslm {
namespace {

template <class T>
std::vector<Range> whole_tensors(const Layout<T>& layout, const Optimizer<T>* optimizer) {
  std::vector<Range> whole;
  if (optimizer != nullptr)
    for (const ParamSpec& spec : layout.params())
      if (optimizer->whole(spec)) whole.push_back({spec.offset, spec.room});
  return whole;
}

}  // namespace

template <class T>
Blueprint<T>::Blueprint(const ModelConfig& config, const RunShape& run, Mode mode, const Training& training)
    : layout(mode),
      model(layout, config, run),
      optimizer(mode == Mode::train ? training.optimizer(layout, training.optim) : nullptr),
      sum(layout, run.micro_batches, training.ranks, training.sharing,
          whole_tensors(layout, optimizer.get())),
      state(layout, optimizer ? optimizer->slots() : std::vector<StateSlot>{}, sum,
            run.snapshot && training.snapshot) {}

template struct Blueprint<float>;
template struct Blueprint<double>;
template struct Blueprint<bf16>;

}  // namespace saslm
