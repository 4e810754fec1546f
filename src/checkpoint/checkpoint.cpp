#include "checkpoint/checkpoint.h"

#include <fcntl.h>
#include <stdio.h>  // renameat2
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <filesystem>

#include "checkpoint/hash.h"
#include "checkpoint/manifest.h"
#include "core/error.h"

namespace saslm {

namespace {

constexpr std::string_view kPrefix = "step_";
constexpr std::string_view kTempPrefix = ".tmp_";
constexpr int64_t kTextBytes = int64_t(8) << 10;  // approximate size of state.json and config.json

// Metadata that transformers requires.
const Metadata& model_metadata() {
  static const Metadata metadata = {{"format", "pt"}};
  return metadata;
}

std::string checkpoint_name(int64_t step) {
  std::string digits = std::to_string(step);
  if (digits.size() < 8) digits.insert(0, 8 - digits.size(), '0');
  return std::string(kPrefix) + digits;
}

std::optional<int64_t> step_of(std::string_view name) {
  int64_t step = -1;
  if (!name.starts_with(kPrefix)) return std::nullopt;
  std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), step);
  if (step < 0 || checkpoint_name(step) != name) return std::nullopt;
  return step;
}

std::string temp_path(const std::string& dir, const std::string& purpose) {
  return dir + "/" + std::string(kTempPrefix) + purpose + "_" + std::to_string(::getpid());
}

FileSum write_text(const std::string& dir, const std::string& name, const std::string& text) {
  File file(dir + "/" + name, O_WRONLY | O_CREAT | O_EXCL);
  file.write_all(bytes_of(text));
  file.sync();
  return {name, int64_t(text.size()), hash_hex(bytes_of(text)), {}};
}

// Renames `temp` to `path`. The previous `path`, if any, is at `temp` afterwards.
void put_in_place(const std::string& temp, const std::string& path) {
  if (!path_exists(path)) return rename_path(temp, path);
  if (::renameat2(AT_FDCWD, temp.c_str(), AT_FDCWD, path.c_str(), RENAME_EXCHANGE) == 0) return;
  if (errno != EINVAL && errno != ENOSYS) throw IoError::from_errno("exchange " + temp + " with", path);
  // The file system cannot exchange names: for a moment the name is absent, and an older step is the newest.
  const std::string aside = temp + "_old";
  rename_path(path, aside);
  rename_path(temp, path);
  rename_path(aside, temp);
}

// Renamed first: a half-deleted folder never looks like a checkpoint.
void discard(const std::string& dir, const std::string& path) {
  const std::string doomed = temp_path(dir, "delete_" + std::filesystem::path(path).filename().string());
  remove_tree(doomed);
  rename_path(path, doomed);
  remove_tree(doomed);
}

// Names the tensor whose bytes differ, if the header is readable; else "".
std::string damaged_tensor(const std::string& path, const FileSum& wanted) {
  try {
    const SafetensorsReader reader(path);
    for (const TensorInfo& tensor : reader.tensors()) {
      const auto sum = wanted.tensors.find(tensor.name);
      if (sum != wanted.tensors.end() && sum->second != reader.hash(tensor)) {
        return " in tensor '" + tensor.name + "'";
      }
    }
    return " in its header";
  } catch (const CheckpointError&) {
    return " in its header";
  }
}

void verify_file(const std::string& dir, const FileSum& wanted) {
  const std::string path = dir + "/" + wanted.name;
  if (!path_exists(path)) throw CheckpointError(path + " is missing");
  const File file(path, O_RDONLY);
  if (file.size() != wanted.size) {
    throw CheckpointError(path + ": wanted " + std::to_string(wanted.size) + " bytes, got " +
                          std::to_string(file.size()));
  }
  const std::string got = hash_range(file, 0, wanted.size);
  if (got == wanted.xxh3) return;
  throw CheckpointError(path + " is damaged" + (wanted.tensors.empty() ? "" : damaged_tensor(path, wanted)) +
                        ": wanted checksum " + wanted.xxh3 + ", got " + got);
}

// Returns exactly the text whose checksum was verified, or throws.
std::string verified_text(const std::string& dir, const FileSum& wanted, int64_t max_bytes) {
  verify_file(dir, wanted);
  std::string text = read_file(dir + "/" + wanted.name, max_bytes);
  if (hash_hex(bytes_of(text)) != wanted.xxh3)
    throw IoError(dir + "/" + wanted.name + " changed while being read");
  return text;
}

int64_t bytes_of_all(const Manifest& manifest, const std::string& manifest_text) {
  int64_t bytes = int64_t(manifest_text.size());
  for (const FileSum& file : manifest.files) bytes += file.size;
  return bytes;
}

template <class Tensor>
void check_tensors(const SafetensorsReader& reader, std::span<const Tensor> wanted) {
  const auto refuse = [&](const std::string& tensor, const std::string& what) {
    throw CheckpointError(reader.path() + ": tensor '" + tensor + "' " + what +
                          ". The file seems to belong to another model: compare its config.json with yours.");
  };
  for (const Tensor& tensor : wanted) {
    const TensorInfo* found = reader.find(tensor.name);
    if (!found) refuse(tensor.name, "is wanted, of shape " + shape_text(tensor.shape) + ", and missing");
    if (found->shape != tensor.shape) {
      refuse(tensor.name, "wanted shape " + shape_text(tensor.shape) + ", got " + shape_text(found->shape));
    }
  }
  for (const TensorInfo& tensor : reader.tensors()) {
    const auto same = [&](const Tensor& other) { return other.name == tensor.name; };
    if (std::none_of(wanted.begin(), wanted.end(), same)) {
      refuse(tensor.name, "of shape " + shape_text(tensor.shape) + " is there, and not wanted");
    }
  }
}

// Reads into the spans and compares with the sums that were verified, if any were: the bytes are read from
// disk a second time.
void read_tensors(const SafetensorsReader& reader, std::span<const NamedTensor> tensors,
                  const FileSum* sums) {
  for (const NamedTensor& tensor : tensors) {
    reader.read(tensor.name, tensor.data);
    if (sums != nullptr && hash_hex(std::as_bytes(tensor.data)) != sums->tensors.at(tensor.name)) {
      throw IoError(reader.path() + ": tensor '" + tensor.name +
                    "' changed between verification and reading");
    }
  }
}

// The same, one after the other.
void give_tensors(const SafetensorsReader& reader, std::span<const ConstNamedTensor> tensors,
                  const FileSum* sums, const TakeTensor& take) {
  std::vector<float> values;
  for (const ConstNamedTensor& tensor : tensors) {
    values.resize(size_t(reader.find(tensor.name)->count));
    const NamedTensor one{tensor.name, tensor.shape, values};
    read_tensors(reader, {&one, 1}, sums);
    take(one);
  }
}

}  // namespace

std::string state_hash(std::span<const FileSum> files) {
  std::string all;
  for (const FileSum& file : files)
    for (const auto& [name, sum] : file.tensors) all += name + " " + sum + "\n";
  return hash_hex(bytes_of(all));
}

SavedCheckpoint save_checkpoint(const std::string& checkpoints_dir, const CheckpointContent& content) {
  check(!content.model.empty() && !content.state_json.empty() && !content.config_json.empty(),
        "a checkpoint has weights, a state and a config");
  make_dirs(checkpoints_dir);
  const std::string name = checkpoint_name(content.step), path = checkpoints_dir + "/" + name;
  TempDir temp(temp_path(checkpoints_dir, name));
  Manifest manifest{content.step, {}};
  {
    SafetensorsWriter model(temp.path() + "/" + kModelFile, content.model, model_metadata());
    SafetensorsWriter optimizer(temp.path() + "/" + kOptimizerFile, content.optimizer);
    manifest.files.push_back(model.write());
    manifest.files.push_back(optimizer.write());
  }
  manifest.files.push_back(write_text(temp.path(), kStateFile, content.state_json));
  manifest.files.push_back(write_text(temp.path(), kConfigFile, content.config_json));
  for (const auto& [carried, text] : content.carried) {
    check(may_be_carried(carried), "what is carried has a plain name of its own");
    manifest.files.push_back(write_text(temp.path(), carried, text));
  }
  const std::string manifest_text = manifest_to_json(manifest);
  write_text(temp.path(), kManifestFile, manifest_text);
  fsync_dir(temp.path());

  put_in_place(temp.path(), path);
  temp.keep();  // from here, the temporary name is unused, or the replaced checkpoint
  fsync_dir(checkpoints_dir);
  remove_tree(temp.path());
  return {path, state_hash(manifest.files), bytes_of_all(manifest, manifest_text)};
}

int64_t predict_checkpoint_bytes(std::span<const ConstNamedTensor> model,
                                 std::span<const ConstNamedTensor> optimizer) {
  const auto sums = [](const char* name, std::span<const ConstNamedTensor> tensors) {
    FileSum file{.name = name, .size = safetensors_size(tensors), .xxh3 = std::string(16, '0')};
    for (const ConstNamedTensor& tensor : tensors) file.tensors[tensor.name] = file.xxh3;
    return file;
  };
  Manifest manifest{.files = {sums(kModelFile, model), sums(kOptimizerFile, optimizer)}};
  return safetensors_size(model, model_metadata()) + safetensors_size(optimizer) +
         int64_t(manifest_to_json(manifest).size()) + kTextBytes;
}

Checkpoint open_checkpoint(const std::string& path, bool tensors_too) {
  const std::string manifest_path = path + "/" + kManifestFile;
  if (!path_exists(manifest_path)) {
    throw CheckpointError(manifest_path + " is missing: not a checkpoint, or an unfinished one");
  }
  const std::string manifest_text = read_file(manifest_path, kMaxManifestBytes);
  const Manifest manifest = parse_manifest(manifest_text, manifest_path);
  Checkpoint checkpoint;
  checkpoint.path_ = path;
  checkpoint.step_ = manifest.step;
  checkpoint.bytes_ = bytes_of_all(manifest, manifest_text);
  checkpoint.files_ = manifest.files;
  for (const auto file : {kModel, kOptimizer})
    if (tensors_too) verify_file(path, manifest.files[file]);
  checkpoint.state_json_ = verified_text(path, manifest.files[kState], kMaxStateTextBytes);
  checkpoint.config_json_ = verified_text(path, manifest.files[kConfig], kMaxStateTextBytes);
  for (size_t i = kConfig + 1; i < manifest.files.size(); ++i)
    checkpoint.carried_[manifest.files[i].name] = verified_text(path, manifest.files[i], kMaxCarriedBytes);
  return checkpoint;
}

Checkpoint verify_checkpoint(const std::string& path) {
  return open_checkpoint(path, true);
}

Checkpoint verified_elsewhere(const std::string& path) {
  return open_checkpoint(path, false);
}

void load_checkpoint(const Checkpoint& checkpoint, std::span<const ConstNamedTensor> model,
                     std::span<const ConstNamedTensor> optimizer, const TakeTensor& take) {
  const SafetensorsReader model_file(checkpoint.path() + "/" + kModelFile);
  const SafetensorsReader optimizer_file(checkpoint.path() + "/" + kOptimizerFile);
  check_tensors(model_file, model);
  check_tensors(optimizer_file, optimizer);
  give_tensors(model_file, model, &checkpoint.files()[kModel], take);
  give_tensors(optimizer_file, optimizer, &checkpoint.files()[kOptimizer], take);
}

void load_checkpoint(const Checkpoint& checkpoint, std::span<const NamedTensor> model,
                     std::span<const NamedTensor> optimizer) {
  const SafetensorsReader model_file(checkpoint.path() + "/" + kModelFile);
  const SafetensorsReader optimizer_file(checkpoint.path() + "/" + kOptimizerFile);
  check_tensors(model_file, model);
  check_tensors(optimizer_file, optimizer);
  read_tensors(model_file, model, &checkpoint.files()[kModel]);
  read_tensors(optimizer_file, optimizer, &checkpoint.files()[kOptimizer]);
}

void load_weights(const std::string& path, std::span<const ConstNamedTensor> model, const TakeTensor& take) {
  const std::string model_path = path + "/" + kModelFile;
  if (path_exists(path + "/" + kManifestFile)) {
    const Checkpoint checkpoint = verify_checkpoint(path);
    const SafetensorsReader reader(model_path);
    check_tensors(reader, model);
    return give_tensors(reader, model, &checkpoint.files()[kModel], take);
  }
  for (const char* name : {kStateFile, kOptimizerFile}) {
    if (path_exists(path + "/" + name)) {
      throw CheckpointError(path + " holds " + name + " but no " + kManifestFile +
                            ": a damaged checkpoint. Use another one; or, to use its weights anyway, copy "
                            "model.safetensors and config.json to a folder of their own.");
    }
  }
  for (const char* name : {kModelFile, kConfigFile}) {
    if (!path_exists(path + "/" + name)) {
      throw CheckpointError(path + ": wanted a folder with " + kModelFile + " and " + kConfigFile +
                            ", got none of " + name);
    }
  }
  const SafetensorsReader reader(model_path);
  check_tensors(reader, model);
  give_tensors(reader, model, nullptr, take);
}

void load_weights(const std::string& path, std::span<const NamedTensor> model) {
  size_t next = 0;
  const std::vector<ConstNamedTensor> wanted(model.begin(), model.end());
  load_weights(path, wanted, [&](const ConstNamedTensor& tensor) {
    std::copy(tensor.data.begin(), tensor.data.end(), model[next++].data.begin());
  });
}

std::string not_finite(const ConstNamedTensor& tensor) {
  for (size_t i = 0; i < tensor.data.size(); ++i)
    if (!std::isfinite(tensor.data[i]))
      return "tensor '" + tensor.name + "' holds " + std::to_string(tensor.data[i]) + " at element " +
             std::to_string(i);
  return "";
}

std::vector<CheckpointEntry> list_checkpoints(const std::string& checkpoints_dir) {
  std::vector<CheckpointEntry> entries;
  for (const std::string& name : list_dir(checkpoints_dir)) {
    const std::optional<int64_t> step = step_of(name);
    if (step) entries.push_back({*step, checkpoints_dir + "/" + name});
  }
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.step < b.step; });
  return entries;
}

std::optional<Checkpoint> find_newest_valid(const std::string& checkpoints_dir, const OnSkip& on_skip) {
  std::vector<CheckpointEntry> entries = list_checkpoints(checkpoints_dir);
  for (; !entries.empty(); entries.pop_back()) {
    const CheckpointEntry& entry = entries.back();
    try {
      Checkpoint checkpoint = verify_checkpoint(entry.path);
      if (checkpoint.step() == entry.step) return checkpoint;
      on_skip(entry.path, "its manifest says step " + std::to_string(checkpoint.step()));
    } catch (const Error& e) {  // IoError too: a bad sector under one must not hide the others
      on_skip(entry.path, e.what());
    }
  }
  return std::nullopt;
}

std::vector<std::string> prune_checkpoints(const std::string& checkpoints_dir, const PruneRules& rules) {
  std::vector<CheckpointEntry> entries = list_checkpoints(checkpoints_dir);
  entries.resize(entries.size() - std::min(entries.size(), size_t(std::max<int64_t>(rules.keep_last, 0))));
  std::erase_if(entries, [&](const auto& entry) {
    return (rules.keep_every > 0 && entry.step % rules.keep_every == 0) || (rules.keep && rules.keep(entry));
  });
  std::vector<std::string> deleted;
  if (entries.empty()) return deleted;
  const std::optional<Checkpoint> newest =
      find_newest_valid(checkpoints_dir, [](const auto&, const auto&) {});
  if (!newest) return deleted;  // damaged checkpoints may still be repairable by hand
  for (const CheckpointEntry& entry : entries) {
    if (entry.path == newest->path()) continue;
    if (rules.removing) rules.removing(entry);
    discard(checkpoints_dir, entry.path);
    deleted.push_back(entry.path);
  }
  return deleted;
}

std::vector<std::string> remove_stale(const std::string& checkpoints_dir) {
  std::vector<std::string> deleted;
  for (const std::string& name : list_dir(checkpoints_dir)) {
    if (!name.starts_with(kTempPrefix)) continue;
    deleted.push_back(checkpoints_dir + "/" + name);
    remove_tree(deleted.back());
  }
  return deleted;
}

}  // namespace saslm
