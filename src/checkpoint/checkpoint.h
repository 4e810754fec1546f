// Checkpoints: RUN/checkpoints/step_00001000/, a folder that is whole or does not count.
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
  std::map<std::string, std::string> carried = {};  // further files: name (may_be_carried), content
};

struct SavedCheckpoint {
  std::string path;        // of the new folder
  std::string state_hash;  // see below
  int64_t bytes = 0;       // of all its files
};

// A checkpoint of the same step, valid or not, is replaced by one atomic
// exchange: the later save is the one whose state the run goes on from.
SavedCheckpoint save_checkpoint(const std::string& checkpoints_dir, const CheckpointContent& content);

// One number for all weights and moments: the XXH3 of their tensors' names and XXH3. Equal for equal state,
// whatever else a checkpoint says.
std::string state_hash(std::span<const FileSum> files);

// Bytes on disk without what is carried, to within the JSON texts (64 KiB are allowed for). Only names and
// shapes are looked at.
int64_t predict_checkpoint_bytes(std::span<const ConstNamedTensor> model,
                                 std::span<const ConstNamedTensor> optimizer);

// A checkpoint whose every byte agreed with its manifest, or will have when it has been loaded.
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

// Reads everything once. Throws CheckpointError naming the file, and the tensor where it can be told.
Checkpoint verify_checkpoint(const std::string& path);

// Of a checkpoint that another process has just verified: manifest and texts are verified here, the tensors
// when load_checkpoint reads them, so that they are read once.
Checkpoint verified_elsewhere(const std::string& path);

// Fills all spans. Names and shapes must be exactly the checkpoint's, else CheckpointError and no span is
// touched.
void load_checkpoint(const Checkpoint& checkpoint, std::span<const NamedTensor> model,
                     std::span<const NamedTensor> optimizer);

// Is given the tensors one after the other; their values last until it returns.
using TakeTensor = std::function<void(const ConstNamedTensor&)>;

// The same, for who wants no room for all of them: of `model` and `optimizer` only names and shapes are
// looked at. What is damaged is an IoError, after some were given.
void load_checkpoint(const Checkpoint& checkpoint, std::span<const ConstNamedTensor> model,
                     std::span<const ConstNamedTensor> optimizer, const TakeTensor& take);

// Weights alone, from a checkpoint (verified first) or from any folder with a model.safetensors (F32, BF16 or
// F16) and a config.json: into the spans; or given one after the other, as above.
void load_weights(const std::string& path, std::span<const NamedTensor> model);
void load_weights(const std::string& path, std::span<const ConstNamedTensor> model, const TakeTensor& take);

// The first number that is NaN or infinite, and where: "tensor 'x' holds nan at element 3"; "" when none is.
std::string not_finite(const ConstNamedTensor& tensor);

struct CheckpointEntry {
  int64_t step = 0;
  std::string path;
};

// Every folder named like a checkpoint, oldest first, unverified. An absent `checkpoints_dir` holds none.
std::vector<CheckpointEntry> list_checkpoints(const std::string& checkpoints_dir);

using OnSkip = std::function<void(const std::string& path, const std::string& reason)>;

// The newest that verifies; `on_skip` hears of every newer one that does not. Nothing found while something
// was skipped means damage, not a new run: tell it apart by list_checkpoints.
std::optional<Checkpoint> find_newest_valid(const std::string& checkpoints_dir, const OnSkip& on_skip);

struct PruneRules {
  int64_t keep_last = 1, keep_every = 0;                      // 0: no step is kept for its number
  std::function<bool(const CheckpointEntry&)> keep = {};      // these, too
  std::function<void(const CheckpointEntry&)> removing = {};  // is told of each, before it goes
};

// Deletes all but the last `keep_last`, every step that is a multiple of `keep_every`, those that `keep`
// names, and the newest valid one, which it verifies to know (only when something is to be deleted). Returns
// the paths deleted.
std::vector<std::string> prune_checkpoints(const std::string& checkpoints_dir, const PruneRules& rules);

// Deletes what killed saves and prunes left behind. The caller holds the run's lock (run_lock.h), so that
// nothing temporary belongs to anybody alive. Returns the paths deleted.
std::vector<std::string> remove_stale(const std::string& checkpoints_dir);

}  // namespace saslm
