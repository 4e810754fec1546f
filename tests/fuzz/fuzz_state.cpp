// Input: a state.json. What is none is read as the config.json beside it.
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "fuzz/target.h"
#include "train/run_state.h"

namespace saslm::fuzz {
namespace of_state {

using nlohmann::json;

const std::string& current_config() {
  static const std::string text = [] {
    Config config;
    config.train.steps = 10, config.train.micro_batch = 2, config.train.grad_accum = 4;
    return to_json(config);
  }();
  return text;
}

bool is_state(const std::string& text) {
  return accepts<CheckpointError>([&] {
    const RunState state = run_state_from_json(text, "step_1");
    for (const int64_t n : {state.step, state.updates, state.tokens, state.detector.bad_in_row})
      require(n >= 0, "nothing is counted below zero");
    const json was = json::parse(text), is = json::parse(to_json(state));
    for (const auto& [key, value] : is.items())
      require(key == "ranks" || was.at(key) == value, "a state says what its file says");
    require(to_json(run_state_from_json(to_json(state), "again")) == to_json(state), "a state comes back");
  });
}

bool is_config(const std::string& text) {
  return accepts<CheckpointError>([&] { check_resumable(text, current_config(), "step_1"); });
}

bool run(std::string_view input) {
  const std::string text(input);
  return is_state(text) || is_config(text);
}

std::vector<std::string> seeds() {
  RunState state;
  state.step = 12, state.updates = 11, state.tokens = 4096, state.sample_index = 1ull << 63;
  state.detector = {{2.5, 3, 1e-3}, 1};
  state.product_table = "cuBLASLt 130100 NVIDIA H200\n";
  state.computed_by = {"cuda",
                       "bf16",
                       std::string(32, 'b'),
                       {"NVIDIA H200", "9.0", "580.65.06, CUDA 13.0", "13.0", "cuBLASLt 13.1.0"}};
  state.train_fingerprint = std::string(32, 'c');
  RunState later = state;
  later.tokenizer = {"/words.json", std::string(32, 'd')};
  later.origin = {"init_from", "/run/checkpoints/step_00000003", std::string(16, 'e'), std::string(16, 'f'),
                  "weights"};
  RunState fresh;
  fresh.origin = kFromSeed;
  return {to_json(state), to_json(RunState{}), to_json(later), to_json(fresh), current_config()};
}

}  // namespace of_state

const Target kState = {
    "state", of_state::run, of_state::seeds, {"train", "global_batch", "micro_batch", "grad_accum"}};

}  // namespace saslm::fuzz
