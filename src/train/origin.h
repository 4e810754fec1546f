// Where a run's initial weights came from. Recorded in state.json and in every "start" of metrics.jsonl.
//
//   {"kind": "seed"}                     drawn from train.seed
//   {"kind": "init_from", "path": …, "state_hash": …, "weights_xxh3": …, "taken": "weights"}
//
// `taken` names what was taken from the checkpoint.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace saslm {

struct SavedModel;

struct Origin {
  std::string kind;          // "": unknown, as in older checkpoints
  std::string path;          // the folder with model.safetensors, absolute, at that time
  std::string state_hash;    // state_hash() of that checkpoint; "" for a folder with only weights
  std::string weights_xxh3;  // XXH3 of its model.safetensors
  std::string taken;

  bool operator==(const Origin&) const = default;
};

inline const Origin kFromSeed = {.kind = "seed"};

// The origin of a run that takes only the weights of `model`. Reads model.safetensors once.
Origin origin_of_weights(const SavedModel& model);

nlohmann::ordered_json to_json(const Origin& origin);  // null if unknown
// Reads what to_json wrote. CheckpointError, which begins with `what`, for anything else.
Origin origin_from_json(const nlohmann::json& json, const std::string& what);

// One line for people.
std::string describe(const Origin& origin);

// Whether a run of this origin may have begun with --init-from `given`; true if either is unknown ("").
bool is_of(const Origin& origin, const std::string& given);

// The folder with the initial weights, for repeating a run of this origin; "" if they came from the seed.
// `given` is where the user says that they are now, or "". ConfigError if `given` contradicts the origin;
// CheckpointError if the weights are gone or have changed.
std::string weights_of(const Origin& origin, const std::string& given);

}  // namespace saslm
