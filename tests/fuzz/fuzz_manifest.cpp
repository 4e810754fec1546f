// Input: a manifest.json. Once more with the checksum that its content has.
#include <nlohmann/json.hpp>

#include "checkpoint/hash.h"
#include "checkpoint/manifest.h"
#include "core/error.h"
#include "fuzz/target.h"

namespace saslm::fuzz {
namespace of_manifest {

using nlohmann::json;

bool accepted(const std::string& text) {
  return accepts<CheckpointError>([&] {
    const Manifest manifest = parse_manifest(text, "manifest.json");
    require(manifest.step >= 0, "a checkpoint's step is not negative");
    require(manifest.files.size() >= 4, "a checkpoint has four files at least");
    for (size_t i = 4; i < manifest.files.size(); ++i)
      require(may_be_carried(manifest.files[i].name), "what is carried stays within its folder");
    for (const FileSum& file : manifest.files) require(file.size >= 0, "no file is smaller than empty");
    require(json::parse(manifest_to_json(manifest)) == json::parse(text), "only what we write is a manifest");
  });
}

bool run(std::string_view input) {
  json document = json::parse(input, nullptr, false);
  bool any = accepted(std::string(input));
  if (document.is_object()) {
    document.erase("xxh3");
    document["xxh3"] = hash_hex(bytes_of(document.dump()));
    any |= accepted(document.dump());
  }
  return any;
}

std::vector<std::string> seeds() {
  const std::string sum(16, 'a');
  Manifest manifest{1000, {{kModelFile, 496, sum, {{"embed.weight", sum}, {"head.weight", sum}}}}};
  for (const char* name : {kOptimizerFile, kStateFile, kConfigFile})
    manifest.files.push_back({name, 17, sum, {}});
  const std::string text = manifest_to_json(manifest);
  for (const char* name : {"encoder.json", "vocab.bpe"}) manifest.files.push_back({name, 17, sum, {}});
  return {text, json::parse(text).dump(), manifest_to_json(manifest)};
}

}  // namespace of_manifest

const Target kManifest = {"manifest", of_manifest::run, of_manifest::seeds};

}  // namespace saslm::fuzz
