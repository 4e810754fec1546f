#include "infer/generate.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/rng.h"

namespace saslm {

template <class T>
int32_t pick_token(const std::vector<T>& logits, const SamplingOptions& options, double u) {
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto likelier = [&](int32_t a, int32_t b) {
    return logits[size_t(a)] > logits[size_t(b)] || (logits[size_t(a)] == logits[size_t(b)] && a < b);
  };
  const size_t k = options.top_k > 0 ? std::min(size_t(options.top_k), order.size()) : order.size();
  std::partial_sort(order.begin(), order.begin() + std::ptrdiff_t(k), order.end(), likelier);
  if (options.temperature == 0) return order[0];

  std::vector<double> weight(k);
  double total = 0;
  for (size_t i = 0; i < k; ++i) {
    weight[i] = std::exp(double(logits[size_t(order[i])] - logits[size_t(order[0])]) / options.temperature);
    total += weight[i];
  }
  double left = u * total;
  for (size_t i = 0; i < k; ++i)
    if ((left -= weight[i]) < 0) return order[i];
  return order[0];
}

template <class T>
void generate(const Engine<T>& engine, const std::vector<int32_t>& prompt, const SamplingOptions& options,
              int64_t seq_len, const std::function<void(int32_t)>& emit) {
  const uint64_t key = stream_key(options.seed, "generate");
  std::vector<int32_t> context = prompt;  // what the cache stands for, and after it what it does not yet hold
  const auto keep_last = [&](int64_t count) {
    if (int64_t(context.size()) > count) context.erase(context.begin(), context.end() - count);
  };
  keep_last(seq_len);
  int64_t cached = 0;
  std::vector<Accum<T>> logits;
  for (int64_t i = 0; i < options.tokens; ++i) {
    if (int64_t(context.size()) > seq_len) {
      keep_last(std::max<int64_t>(1, seq_len / 2));
      cached = 0;
    }
    const int64_t fresh = int64_t(context.size()) - cached;
    engine.model().next_logits(engine.backend(),
                               {.inputs = mat(context.data() + cached, 1, fresh), .start = cached}, logits);
    cached += fresh;
    context.push_back(pick_token(logits, options, uniform(key, uint64_t(i))));
    emit(context.back());
  }
}

template int32_t pick_token(const std::vector<float>&, const SamplingOptions&, double);
template void generate(const Engine<float>&, const std::vector<int32_t>&, const SamplingOptions&, int64_t,
                       const std::function<void(int32_t)>&);
template void generate(const Engine<bf16>&, const std::vector<int32_t>&, const SamplingOptions&, int64_t,
                       const std::function<void(int32_t)>&);

}  // namespace saslm
