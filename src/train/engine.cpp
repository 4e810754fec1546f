#include "train/engine.h"

#include <cmath>

#include "core/bf16.h"
#include "ops/named_range.h"

namespace saslm {

template <class T>
Engine<T>::Engine(const ModelConfig& config, const RunShape& run, Mode mode, const Ops<T>& ops,
                  const Communicator& comm, const Sharing& sharing, const OptimConfig& optim,
                  const OptimizerMaker<T>& optimizer)
    : ops_(ops),
      comm_(comm),
      run_(run),
      grad_clip_(optim.grad_clip),
      declared_(config, run, mode,
                {.ranks = comm.size(),
                 .sharing = sharing,
                 .optim = optim,
                 .optimizer = optimizer,
                 .snapshot = comm.first() && ops.host_memory}),
      stream_(ops.open_stream()),
      beside_(comm.size() > 1 ? ops.open_stream() : stream_),
      arena_(declared_.layout, ops.allocate(declared_.layout.bytes())),
      sum_(declared_.sum, {ops, arena_, comm, *stream_, *beside_}),
      state_(declared_.state, backend(), comm) {
  declared_.model.prepare(backend());
  if (comm.size() > 1 && sharing.sum == RankSum::library) comm.all_reduce(*beside_, {}, "sum of gradients");
}

template <class T>
void Engine<T>::zero_totals() {
  const Vec<double> totals = model().totals(arena_);
  ops_.zero(stream(), totals.data, size_t(totals.size) * sizeof(double));
}

template <class T>
typename Engine<T>::Totals Engine<T>::compute_gradients(const MicroBatches& batches) {
  sum_.await_weights();
  zero_totals();
  const double mean = 1.0 / double(run_.micro_batches * comm_.size() * run_.rows());
  for (int64_t micro = 0; micro < run_.micro_batches; ++micro) {
    const MicroBatch batch{.tokens = batches(micro), .index = micro, .scale = mean};
    const Arena<T> sums = sum_.begin(micro);
    model().add_loss_and_grads({ops_, sums, stream()}, batch, [&](int64_t first, int64_t end) {
      sum_.add(micro, {first, end - first});
    });
  }
  sum_.finish();
  Totals totals = read_totals();
  totals.loss *= mean;
  if (totals.aux_loss) *totals.aux_loss *= mean;
  return totals;
}

// Sums over all ranks' micro-batches.
template <class T>
typename Engine<T>::Totals Engine<T>::read_totals() {
  using Model = Transformer<T>;
  const Vec<double> totals = model().totals(arena_), squares = sum_.squares();
  comm_.wait(stream(), "sum of gradients");
  std::vector<double> read(size_t(totals.size + squares.size));
  ops_.copy_out(stream(), read.data(), totals.data, size_t(totals.size) * sizeof(double));
  ops_.copy_out(stream(), read.data() + totals.size, squares.data, size_t(squares.size) * sizeof(double));
  const std::vector<double> of_all = gather_numbers(comm_, read, "sum of losses");
  Totals result{.grad_norm = std::sqrt(sum_.add_up(of_all.data() + totals.size, read.size()))};
  double aux_loss = 0;
  for (size_t rank = 0; rank < of_all.size(); rank += read.size())
    for (size_t micro = rank; micro < rank + size_t(totals.size); micro += Model::kTotals) {
      result.loss += of_all[micro + Model::kLoss];
      aux_loss += of_all[micro + Model::kAuxLoss];
    }
  if (model().has_aux_loss()) result.aux_loss = aux_loss;
  return result;
}

template <class T>
void Engine<T>::update(double learning_rate, double grad_norm, int64_t t) {
  const NamedRange range(ops_, "optimizer");
  const UpdateStep step{.lr = learning_rate, .grad_scale = clip_factor(grad_clip_, grad_norm), .t = t};
  for (const TensorPart<T>& part : state_.parts()) declared_.optimizer->update(backend(), part, step);
  sum_.spread_weights();
}

template <class T>
double Engine<T>::loss(const TokenBatch& batch) {
  sum_.await_weights();
  zero_totals();
  model().add_loss(backend(), batch);
  double loss = 0;
  ops_.copy_out(stream(), &loss, model().totals(arena_).data + Transformer<T>::kLoss, sizeof loss);
  return loss;
}

template class Engine<float>;
template class Engine<double>;
template class Engine<bf16>;

}  // namespace saslm
