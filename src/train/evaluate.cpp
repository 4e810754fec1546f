#include "train/evaluate.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numbers>

#include "ops/named_range.h"

namespace saslm {
namespace {

// In the total order of IEEE 754, of NaN too; std::strong_order does not take doubles in GCC 11.
int64_t rank_of(double x) {
  const auto bits = std::bit_cast<int64_t>(x);
  return bits < 0 ? bits ^ std::numeric_limits<int64_t>::max() : bits;
}

// Evaluates one set after the other, and counts.
template <class T>
class Evaluation {
 public:
  Evaluation(Engine<T>& engine, const TokenSet& set, const EvalOptions& options)
      : engine_(engine), set_(set), options_(options), tokens_(options.batch, set.seq_len()) {}

  // Nothing when told to stop.
  std::optional<EvalSum> sum(const std::vector<int64_t>& samples) {
    const Communicator& comm = engine_.comm();
    const auto total = int64_t(samples.size());
    EvalSum sum{.sequences = total, .targets = total * set_.seq_len()};
    double bytes = 0;
    for (int64_t round = 0; round < total; round += options_.batch * comm.size()) {  // a batch for every rank
      if (options_.stop && options_.stop()) return {};
      const int64_t first = round + options_.batch * comm.rank();
      const auto all = gather_structs(comm, of_batch(samples, first), "evaluation");
      for (size_t rank = 0; rank < all.size(); ++rank) {
        sum.nats += all[rank].nats, bytes += all[rank].text_bytes;
        const int64_t begin = round + options_.batch * int64_t(rank);
        if (options_.each_batch && begin < total) options_.each_batch(samples[size_t(begin)], all[rank].nats);
      }
      const int64_t now = std::min(total - round, options_.batch * comm.size());
      done_ += now;
      if (options_.progress) options_.progress(done_);
    }
    if (!std::isnan(bytes)) sum.text_bytes = int64_t(bytes);
    return sum;
  }

 private:
  struct BatchSum {
    double nats = 0, text_bytes = 0;  // NaN bytes: not known, and then the sum over all ranks is not
  };
  // Of this rank's batch, of which there may be none. A rank without the tokenizer knows no bytes.
  BatchSum of_batch(const std::vector<int64_t>& samples, int64_t first) {
    const int64_t B = std::clamp<int64_t>(int64_t(samples.size()) - first, 0, options_.batch);
    for (int64_t b = 0; b < B; ++b) set_.read(samples[size_t(first + b)], tokens_.row(b));
    const double loss = B > 0 ? engine_.loss(tokens_.first(B)) : 0;
    if (options_.tokenizer == nullptr) return {loss, std::numeric_limits<double>::quiet_NaN()};
    int64_t bytes = 0;
    for (int64_t b = 0; b < B; ++b) {
      const auto [inputs, targets] = tokens_.row(b);
      for (int64_t t = 0; t < inputs.size; ++t)
        bytes += options_.tokenizer->text_bytes_after(inputs[t], targets[t]);
    }
    return {loss, double(bytes)};
  }

  Engine<T>& engine_;
  const TokenSet& set_;
  const EvalOptions& options_;
  TokenBuffer tokens_;
  int64_t done_ = 0;
};

}  // namespace

std::optional<double> EvalSum::bits_per_byte() const {
  if (text_bytes.value_or(0) == 0) return {};
  return nats / std::numbers::ln2 / double(*text_bytes);
}

template <class T>
std::optional<EvalResult> evaluate(Engine<T>& engine, const TokenSet& set, const EvalSample& sample,
                                   const EvalOptions& options) {
  const NamedRange range(engine.ops(), "evaluation");
  Evaluation<T> evaluation(engine, set, options);
  EvalResult result;
  result.all.text_bytes = 0;
  std::vector<double> sums;
  for (const EvalSample::Set& part : sample.sets) {
    const std::optional<EvalSum> sum = evaluation.sum(part.samples);
    if (!sum) return {};
    result.sets.push_back(*sum);
    sums.push_back(sum->nats);
    result.all.sequences += sum->sequences;
    result.all.targets += sum->targets;
    if (sum->text_bytes && result.all.text_bytes)
      *result.all.text_bytes += *sum->text_bytes;
    else if (sum->sequences > 0)
      result.all.text_bytes.reset();
  }
  std::sort(sums.begin(), sums.end(), [](double a, double b) { return rank_of(a) < rank_of(b); });
  for (const double nats : sums) result.all.nats += nats;
  return result;
}

template std::optional<EvalResult> evaluate(Engine<float>&, const TokenSet&, const EvalSample&,
                                            const EvalOptions&);
template std::optional<EvalResult> evaluate(Engine<bf16>&, const TokenSet&, const EvalSample&,
                                            const EvalOptions&);

}  // namespace saslm
