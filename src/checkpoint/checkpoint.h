// Checkpoints: RUN/checkpoints/step_00001000/, a folder that is complete or ignored.
//
//   model.safetensors      fp32 master weights; loads by itself wherever safetensors do
//   optimizer.safetensors  moments
//   state.json             the trainer's own: step, tokens, sample index, ...; opaque here
//   config.json            the resolved config
//   tokenizer.json, ...    what the run carries so that it needs nothing else; opaque here, may be none
//   manifest.json          last: size and XXH3 of every file and tensor, and of itself
//
// Save writes all of it under a temporary name (".tmp_…"), fsyncs every file and the folder, renames the
// folder and fsyncs its parent. A kill or power cut at any instant therefore leaves every finished checkpoint
// as it was. Flipped bits, short and missing files fail verification; loading without it is impossible,
// because only verification makes a Checkpoint.
//
// Errors   CheckpointError: damaged, or another model's. IoError: the machine's fault (disk full, fsync,
// ...);
//          then nothing new was saved, and what was there before still is.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"

namespace saslm {

struct CheckpointContent {
  int64_t step = 0;  // updates done
  std::span<const ConstNamedTensor> model, optimizer;
  std::string state_json, config_json;
  std::map<std::string, std::string> carried = {};  // additional files: name (may_be_carried), content
};

struct SavedCheckpoint {
  std::string path;        // of the new folder
  std::string state_hash;  // see below
  int64_t bytes = 0;       // of all its files
};

// Saves a checkpoint. One of the same step, valid or not, is replaced by an atomic exchange, since the run
// continues from the later save's state.
SavedCheckpoint save_checkpoint(const std::string& checkpoints_dir, const CheckpointContent& content);

// One hash of all weights and moments: the XXH3 of the tensors' names and XXH3s. Equal for equal state,
// whatever else the checkpoint contains.
std::string state_hash(std::span<const FileSum> files);

// Bytes on disk without additional files, up to the size of the JSON texts (64 KiB are assumed). Only names
// and shapes are used.
int64_t predict_checkpoint_bytes(std::span<const ConstNamedTensor> model,
                                 std::span<const ConstNamedTensor> optimizer);

// A checkpoint whose bytes were verified against its manifest, or will be while it is loaded.
class Checkpoint {
 public:
  const std::string& path() const { return path_; }
  int64_t step() const { return step_; }
  const std::string& state_json() const { return state_json_; }
  const std::string& config_json() const { return config_json_; }
  const std::map<std::string, std::string>& carried() const { return carried_; }
  const std::vector<FileSum>& files() const { return files_; }  // model, optimizer, state, config, carried
  int64_t bytes() const { return bytes_; }                      // of all its files, the manifest too

 private:
  Checkpoint() = default;
  friend Checkpoint open_checkpoint(const std::string& path, bool tensors_too);

  std::string path_, state_json_, config_json_;
  int64_t step_ = 0, bytes_ = 0;
  std::vector<FileSum> files_;
  std::map<std::string, std::string> carried_;
};

// Reads and verifies everything. Throws CheckpointError with the file and, if known, the tensor.
Checkpoint verify_checkpoint(const std::string& path);

// For a checkpoint that another process has just verified: verifies the manifest and texts now, and the
// tensors when load_checkpoint reads them, so they are read only once.
Checkpoint verified_elsewhere(const std::string& path);

// Fills all spans. Names and shapes must be exactly the checkpoint's; otherwise throws CheckpointError and no
// span is changed.
void load_checkpoint(const Checkpoint& checkpoint, std::span<const NamedTensor> model,
                     std::span<const NamedTensor> optimizer);

// Called with one tensor after the other; the values are valid until it returns.
using TakeTensor = std::function<void(const ConstNamedTensor&)>;

// The same without memory for all tensors: only names and shapes of `model` and `optimizer` are used. Damage
// is an IoError, possibly after some tensors were passed on.
void load_checkpoint(const Checkpoint& checkpoint, std::span<const ConstNamedTensor> model,
                     std::span<const ConstNamedTensor> optimizer, const TakeTensor& take);

// Loads only weights, from a checkpoint (verified first) or from a folder with a model.safetensors (F32, BF16
// or F16) and a config.json: into the spans; or gives them one after the other, as above.
void load_weights(const std::string& path, std::span<const NamedTensor> model);
void load_weights(const std::string& path, std::span<const ConstNamedTensor> model, const TakeTensor& take);

// The first NaN or infinite value, as text: "tensor 'x' holds nan at element 3"; "" if there is none.
std::string not_finite(const ConstNamedTensor& tensor);

struct CheckpointEntry {
  int64_t step = 0;
  std::string path;
};

// Every folder named like a checkpoint, oldest first, unverified. None if `checkpoints_dir` does not exist.
std::vector<CheckpointEntry> list_checkpoints(const std::string& checkpoints_dir);

using OnSkip = std::function<void(const std::string& path, const std::string& reason)>;

// The newest checkpoint that verifies; `on_skip` is called for every newer one that does not. If nothing is
// returned but list_checkpoints is not empty, all are damaged.
std::optional<Checkpoint> find_newest_valid(const std::string& checkpoints_dir, const OnSkip& on_skip);

struct PruneRules {
  int64_t keep_last = 1, keep_every = 0;                      // 0: none is kept for its step
  std::function<bool(const CheckpointEntry&)> keep = {};      // these, too
  std::function<void(const CheckpointEntry&)> removing = {};  // called for each before it is deleted
};

// Deletes checkpoints except the last `keep_last`, multiples of `keep_every`, those for which `keep` is true,
// and the newest valid one (verified only if something is to be deleted). Returns the deleted paths.
std::vector<std::string> prune_checkpoints(const std::string& checkpoints_dir, const PruneRules& rules);

// Deletes leftovers of killed saves and prunes. The caller must hold the run's lock (run_lock.h), so that no
// live process owns them. Returns the deleted paths.
std::vector<std::string> remove_stale(const std::string& checkpoints_dir);

}  // namespace saslm
