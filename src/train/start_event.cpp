#include "train/start_event.h"

#include <nlohmann/json.hpp>

namespace saslm {

nlohmann::ordered_json start_event(const StartFacts& facts) {
  using Json = nlohmann::ordered_json;
  const RunState& state = facts.state;
  Json kernels;  // null on a CPU
  for (const KernelPath& path : facts.kernels) kernels[path.call] = path.variant;
  const Json null;  // JSON on both sides of ?:, for its 3.10 (Ubuntu 22.04)
  return {{"resumed_from_step", facts.resumed ? Json(state.step) : null},
          {"origin", to_json(state.origin)},
          {"changed", facts.changes},
          {"steps", facts.config.train.steps},
          {"kind", name_of(facts.config.model.attention.kind)},
          {"parameters", facts.plan.parameters},
          {"flops_per_token", facts.plan.flops_per_token},
          {"arena_bytes", facts.arena_bytes},
          {"ranks", state.ranks},
          {"device", state.computed_by.device},
          {"precision", state.computed_by.precision},
          {"build", state.computed_by.build},
          {"kernels", kernels},
          {"selfcheck", to_json(facts.verdict)},
          {"avoided", state.avoided},
          {"platform", to_json(state.computed_by.platform)},
          {"peak_tflops", facts.peak_tflops > 0 ? Json(facts.peak_tflops) : null},
          {"tokens_per_step", facts.plan.tokens_per_step},
          {"train_samples", facts.train_samples},
          {"train_fingerprint", state.train_fingerprint},
          {"val_fingerprint", state.val_fingerprint},
          {"eval_sequences", facts.eval_sequences},
          {"eval_sample", state.eval_sample},
          {"tokenizer", state.tokenizer.name},
          {"tokenizer_fingerprint", state.tokenizer.fingerprint}};
}

}  // namespace saslm
