#include "bench/recording.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "core/error.h"
#include "train/engine.h"

namespace saslm {
namespace {

// A queue whose work is only written down; calls find it in Stream::backend.
template <class T>
struct Recorder {
  Stream stream{nullptr, this};
  std::vector<KernelCall<T>> calls;
};

template <class T, class Args>
void record(Stream stream, const Args& args) {
  static_cast<Recorder<T>*>(stream.backend)->calls.push_back(make_call<T>(args));
}

template <class T>
Ops<T> recording_ops() {
  using A = Accum<T>;
  Ops<T> ops{};
  std::apply(
      [&]<class... Args>(const Operation<T, Args>&... op) { ((ops.*op.entry = record<T, Args>), ...); },
      kOperations<T>);
  ops.add_sum = [](Stream stream, double* total, Vec<const A> x) {
    record<T>(stream, AddSum<T>{{total, 1}, x});
  };
  ops.allocate = reserve_addresses;
  ops.available_bytes = [](int) { return int64_t(0); };
  ops.open_stream = [] {
    const auto recorder = std::make_shared<Recorder<T>>();
    return std::shared_ptr<const Stream>(recorder, &recorder->stream);
  };
  ops.follow = [](Stream, Stream) {};
  ops.time_products = [](Stream, const std::string&) { return true; };
  ops.product_table = [](Stream) { return std::string(); };
  ops.limits = [](Stream) { return simt::DeviceLimits{}; };
  ops.avoid = [](Stream, uint32_t) {};
  ops.host_memory = false;
  ops.device = "";
  ops.platform = [] { return Platform(); };
  ops.copy_in = [](Stream, void*, const void*, size_t) {};
  ops.copy_out = [](Stream, void* host, const void*, size_t bytes) { std::memset(host, 0, bytes); };
  ops.zero = [](Stream, void*, size_t) {};
  return ops;
}

enum class Part { micro_step, run };

template <class T>
std::vector<KernelCall<T>> calls_of(const Config& config, Part part) {
  Config one = config;  // micro-batch a step: further ones make the same calls again, and add up gradients
  one.train.grad_accum = part == Part::run ? 2 : 1;
  const TrainConfig& train = one.train;
  static const Ops<T> kOps = recording_ops<T>();
  const auto held = std::make_shared<Engine<T>>(config.model, training_shape(one), Mode::train, kOps,
                                                single_rank(), Sharing{}, config.optim);
  Engine<T>& engine = *held;
  auto& calls = static_cast<Recorder<T>*>(engine.stream().backend)->calls;
  if (part == Part::micro_step) calls.clear();  // the constants of a run are made once
  const std::vector<int32_t> tokens(size_t(train.micro_batch * train.seq_len));
  const Mat<const int32_t> all = mat(tokens.data(), train.micro_batch, train.seq_len);
  const TokenBatch batch{.inputs = all, .targets = all};
  const auto totals = engine.compute_gradients([&](int64_t) { return batch; });
  engine.update(config.optim.lr, totals.grad_norm, 1);
  if (part == Part::run) engine.loss(batch);
  for (KernelCall<T>& call : calls) call.recorded = held;
  return std::exchange(calls, {});
}

template <class T>
std::vector<KernelCall<T>> distinct_calls(const std::vector<Config>& configs, Part part) {
  std::vector<KernelCall<T>> distinct;
  std::map<std::string, size_t> place;
  for (size_t i = 0; i < configs.size(); ++i)
    for (KernelCall<T>& call : calls_of<T>(configs[i], part)) {
      const auto [at, is_new] = place.emplace(call.key, distinct.size());
      if (is_new) {
        call.repeats.assign(configs.size(), 0);
        distinct.push_back(std::move(call));
      }
      ++distinct[at->second].repeats[i];
    }
  std::map<std::string, size_t> first;  // of the operation's calls
  for (const KernelCall<T>& call : distinct) first.emplace(call.op, first.size());
  std::stable_sort(distinct.begin(), distinct.end(),
                   [&](const auto& a, const auto& b) { return first.at(a.op) < first.at(b.op); });
  return distinct;
}

}  // namespace

template <class T>
std::vector<KernelCall<T>> record_calls(const std::vector<Config>& configs) {
  return distinct_calls<T>(configs, Part::micro_step);
}
template <class T>
std::vector<KernelCall<T>> record_run(const Config& config) {
  return distinct_calls<T>({config}, Part::run);
}

std::vector<std::string> operation_names() {
  std::vector<std::string> names = {Launcher<float, AddSum<float>>::kName};
  std::apply([&](const auto&... op) { (names.push_back(op.name), ...); }, kOperations<float>);
  return names;
}

void check_operation_names(const std::vector<std::string>& only) {
  const std::vector<std::string> known = operation_names();
  for (const std::string& name : only)
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      std::string all;
      for (const std::string& op : known) all += (all.empty() ? "" : ", ") + op;
      throw ConfigError("--only: unknown operation " + name + "; there are " + all);
    }
}

std::vector<Config> at_length(std::vector<Config> configs, int64_t T, int64_t tokens) {
  for (Config& config : configs) {
    config.model.max_seq_len = std::max(config.model.max_seq_len, T);
    config.train.seq_len = T;
    config.train.micro_batch = config.train.global_batch = std::max<int64_t>(1, tokens / T);
    config.train.grad_accum = 1;
  }
  return configs;
}

template std::vector<KernelCall<float>> record_calls(const std::vector<Config>&);
template std::vector<KernelCall<bf16>> record_calls(const std::vector<Config>&);
template std::vector<KernelCall<float>> record_run(const Config&);
template std::vector<KernelCall<bf16>> record_run(const Config&);

}  // namespace saslm
