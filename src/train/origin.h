// Where a run's first weights came from. Recorded in state.json and in every "start" of metrics.jsonl.
//
//   {"kind": "seed"}                     drawn, by train.seed
//   {"kind": "init_from", "path": …, "state_hash": …, "weights_xxh3": …, "taken": "weights"}
//
// A kind that takes more than weights says so in `taken`.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace saslm {

struct SavedModel;

struct Origin {
  std::string kind;          // "": not known, as of checkpoints from before this was kept
  std::string path;          // of the folder with model.safetensors, absolute, as it was then
  std::string state_hash;    // state_hash() of that checkpoint; "" of weights alone
  std::string weights_xxh3;  // of its model.safetensors
  std::string taken;

  bool operator==(const Origin&) const = default;
};

inline const Origin kFromSeed = {.kind = "seed"};

// For weights alone. Reads model.safetensors once.
Origin origin_of_weights(const SavedModel& model);

nlohmann::ordered_json to_json(const Origin& origin);  // null where it is not known
// `what` names the text in the CheckpointError for anything but what to_json writes.
Origin origin_from_json(const nlohmann::json& json, const std::string& what);

// One line for people.
std::string describe(const Origin& origin);

// Whether --init-from `given` may be how such a run began: "" and an unknown origin always may.
bool is_of(const Origin& origin, const std::string& given);

// The folder whose weights a run that began so can begin with once more; "" where that is its seed. `given`
// is where the user says they are now, or "". ConfigError when `given` contradicts the origin;
// CheckpointError when the weights are gone or are others now.
std::string weights_of(const Origin& origin, const std::string& given);

}  // namespace saslm
