// manifest.json: the files of a complete checkpoint and their checksums.
//
//   {"format": 2, "step": 1000,      1 where the four files are all there is
//    "files": [{"name": "model.safetensors", "size": 496, "xxh3": "…", "tensors": {"embed.weight": "…", …}},
//    …], "xxh3": "…"}        of this document without this key, as nlohmann::json dumps it: keys sorted, no
//    spaces
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/safetensors.h"

namespace saslm {

inline constexpr const char* kModelFile = "model.safetensors";
inline constexpr const char* kOptimizerFile = "optimizer.safetensors";
inline constexpr const char* kStateFile = "state.json";
inline constexpr const char* kConfigFile = "config.json";
inline constexpr const char* kManifestFile = "manifest.json";

constexpr int64_t kMaxManifestBytes = int64_t(64) << 20;  // 100 bytes per tensor
constexpr int64_t kMaxCarriedBytes = int64_t(256) << 20;  // the limit for tokenizer files
constexpr int64_t kMaxStateTextBytes = int64_t(16)
                                       << 20;  // state.json, config.json: the limit for config files

enum FileIndex : size_t { kModel, kOptimizer, kState, kConfig };  // into Manifest::files

struct Manifest {
  int64_t step = 0;
  std::vector<FileSum> files;  // the four, then additional files, sorted by name
};

// Whether an additional file may have this name: letters, digits and . _ - only, and not one of our own
// names.
bool may_be_carried(std::string_view name);

std::string manifest_to_json(const Manifest& manifest);

// Throws CheckpointError if the text is damaged or of an unknown format. `path` is for messages.
Manifest parse_manifest(std::string_view text, const std::string& path);

}  // namespace saslm
