#include "train/plan.h"

#include <algorithm>
#include <cstdio>

#include "checkpoint/checkpoint.h"
#include "train/blueprint.h"

namespace saslm {
namespace {

// Of a run's first rank.
template <class T>
Blueprint<T> declared(const Config& config, bool host_memory, const OptimizerMaker<T>& optimizer) {
  return {config.model,
          training_shape(config),
          Mode::train,
          {.ranks = config.train.ranks,
           .sharing = sharing_of(config.runtime),
           .optim = config.optim,
           .optimizer = optimizer,
           .snapshot = host_memory}};
}

// From the given setting on, every one that lets a larger micro-batch fit than those before it.
template <class T>
std::string what_would_fit(const Config& config, bool host_memory, int64_t available,
                           const OptimizerMaker<T>& optimizer) {
  Config smaller = config;
  int64_t& micro_batch = smaller.train.micro_batch;
  std::string options;
  int64_t largest = 0;
  for (const Recompute recompute : {Recompute::none, Recompute::sim, Recompute::block}) {
    if (recompute < config.runtime.recompute) continue;
    smaller.runtime.recompute = recompute;
    for (micro_batch = config.train.micro_batch; micro_batch > largest; micro_batch /= 2) {
      smaller.train.grad_accum = ceil_div(config.train.grad_accum * config.train.micro_batch, micro_batch);
      const int64_t bytes = declared(smaller, host_memory, optimizer).layout.bytes();
      if (bytes > available) continue;
      largest = micro_batch;
      const std::string fewer = "train.micro_batch " + std::to_string(micro_batch),
                        again = "runtime.recompute \"" + std::string(name_of(recompute)) + "\"";
      options += options.empty() ? "" : ", or ";
      if (recompute == config.runtime.recompute)
        options += fewer;
      else
        options += micro_batch == config.train.micro_batch ? again : fewer + " with " + again;
      options += " (" + std::to_string(bytes) + " bytes)";
    }
  }
  if (options.empty())
    return "not even train.micro_batch 1 with runtime.recompute \"block\" would fit: the model itself is too "
           "large for this machine";
  return "these would fit: " + options + "; train.grad_accum makes up for a smaller micro_batch";
}

// "layers.3.attn.q" -> "layers.attn.q"
std::string without_layer(const std::string& name) {
  if (!name.starts_with("layers.")) return name;
  return "layers" + name.substr(name.find('.', 7));
}

int64_t& entry_of(std::vector<std::pair<std::string, int64_t>>& list, const std::string& name) {
  auto entry = std::find_if(list.begin(), list.end(), [&](const auto& e) { return e.first == name; });
  if (entry == list.end()) entry = list.insert(entry, {name, 0});
  return entry->second;
}

}  // namespace

template <class T>
Plan make_plan(const Config& config, bool host_memory, const OptimizerMaker<T>& optimizer) {
  const TrainConfig& train = config.train;
  const Blueprint<T> run = declared(config, host_memory, optimizer);
  const Layout<T>& layout = run.layout;

  Plan plan;
  for (const ParamSpec& spec : layout.params()) {
    plan.parameters += spec.size;
    entry_of(plan.parameters_by_part, spec.part) += spec.size;
  }

  const auto macs = run.model.macs(train.seq_len);
  plan.flops_attention = 6 * macs.attention;
  plan.flops_mlp = 6 * macs.mlp;
  plan.flops_head = 6 * macs.head;
  plan.flops_per_token = 6 * macs.total();
  plan.flops_recomputed = 2 * macs.recomputed;

  plan.arena_bytes = layout.bytes();
  if (!host_memory) plan.headroom_bytes = train.ranks > 1 ? kGpuHeadroomOfRanks : kGpuHeadroom;
  for (int r = 0; r < kRegions; ++r)
    if (const int64_t bytes = layout.region_bytes(Region(r)); bytes > 0)
      plan.bytes_by_region.emplace_back(name_of(Region(r)), bytes);
  for (const BufferLine& line : layout.buffers()) {
    const std::string name = std::string(name_of(line.region)) + " " + without_layer(line.name);
    int64_t& bytes = entry_of(plan.bytes_by_buffer, name);
    bytes = line.region == Region::scratch ? std::max(bytes, line.bytes) : bytes + line.bytes;
  }
  const StateTensors names = run.state.names();
  plan.checkpoint_bytes = predict_checkpoint_bytes(names.weights, names.optimizer);

  plan.tokens_per_step = train.global_batch * train.seq_len;
  plan.tokens_total = plan.tokens_per_step * train.steps;
  return plan;
}

std::string budget_of(const TrainConfig& train, int64_t samples) {
  char epochs[32];
  std::snprintf(epochs, sizeof epochs, "%.3g",
                double(train.steps) * double(train.global_batch) / double(samples));
  return "a step: " + std::to_string(train.global_batch) + " samples, " +
         std::to_string(train.global_batch * train.seq_len) + " tokens; " + std::to_string(train.steps) +
         " steps: " + epochs + " epochs";
}

template <class T>
void check_plan_fits(const Config& config, const Plan& plan, int64_t available, bool host_memory, int sharing,
                     const OptimizerMaker<T>& optimizer) {
  if (available == 0 || plan.arena_bytes + plan.headroom_bytes <= available) return;
  const int64_t usable = std::max<int64_t>(available - plan.headroom_bytes, 0);
  const bool alone = sharing == 1;
  const std::string who = alone ? "it" : "each of " + std::to_string(sharing) + " ranks on this machine";
  throw ConfigError("this run does not fit into memory: " + who + " needs " +
                    std::to_string(plan.arena_bytes) + " bytes, there are " + std::to_string(usable) +
                    (alone ? "" : " for each") +
                    (plan.headroom_bytes == 0
                         ? ""
                         : " beside the " + std::to_string(plan.headroom_bytes) + " that CUDA is left") +
                    "; " + what_would_fit(config, host_memory, usable, optimizer) +
                    (alone ? "" : "; fewer ranks on this machine leave more for each"));
}

template Plan make_plan<float>(const Config&, bool, const OptimizerMaker<float>&);
template void check_plan_fits<float>(const Config&, const Plan&, int64_t, bool, int,
                                     const OptimizerMaker<float>&);
template Plan make_plan<bf16>(const Config&, bool, const OptimizerMaker<bf16>&);
template void check_plan_fits<bf16>(const Config&, const Plan&, int64_t, bool, int,
                                    const OptimizerMaker<bf16>&);

}  // namespace saslm
