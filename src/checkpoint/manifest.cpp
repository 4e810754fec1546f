#include "checkpoint/manifest.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "checkpoint/hash.h"
#include "checkpoint/json_strict.h"
#include "core/error.h"

namespace saslm {

using nlohmann::json;

namespace {

constexpr int kFormat = 1, kFormatWithMore = 2;  // earlier versions refuse it by its number
constexpr int kManifestDepth = 4;                // { "files": [ { "tensors": { } } ] }
constexpr std::array kFiles = {kModelFile, kOptimizerFile, kStateFile, kConfigFile};

FileSum file_from(const json& entry, const std::string& path) {
  FileSum file{entry.at("name"), count_at(entry, "size", path), entry.at("xxh3"), {}};
  if (entry.contains("tensors")) file.tensors = entry.at("tensors").get<std::map<std::string, std::string>>();
  return file;
}

int format_of(const Manifest& manifest) {
  return manifest.files.size() > kFiles.size() ? kFormatWithMore : kFormat;
}

void check_files(const std::vector<FileSum>& files, const std::string& path) {
  bool complete = files.size() >= kFiles.size();
  for (size_t i = 0; complete && i < kFiles.size(); ++i) complete = files[i].name == kFiles[i];
  if (!complete) throw CheckpointError(path + ": wanted the four files of a checkpoint, got another list");
  for (size_t i = kFiles.size(); i < files.size(); ++i)
    if (!may_be_carried(files[i].name) || !files[i].tensors.empty() ||
        (i > kFiles.size() && files[i].name <= files[i - 1].name))
      throw CheckpointError(path + ": wanted sorted plain names for the additional files, got another list");
}

}  // namespace

bool may_be_carried(std::string_view name) {
  const auto plain = [](char c) { return std::isalnum(uint8_t(c)) || c == '.' || c == '_' || c == '-'; };
  return !name.empty() && name[0] != '.' && std::all_of(name.begin(), name.end(), plain) &&
         name != kManifestFile && std::find(kFiles.begin(), kFiles.end(), name) == kFiles.end();
}

std::string manifest_to_json(const Manifest& manifest) {
  json document = {{"format", format_of(manifest)}, {"step", manifest.step}, {"files", json::array()}};
  for (const FileSum& file : manifest.files) {
    json entry = {{"name", file.name}, {"size", file.size}, {"xxh3", file.xxh3}};
    if (!file.tensors.empty()) entry["tensors"] = file.tensors;
    document["files"].push_back(std::move(entry));
  }
  document["xxh3"] = hash_hex(bytes_of(document.dump()));
  return document.dump(1) + "\n";
}

Manifest parse_manifest(std::string_view text, const std::string& path) {
  json document = parse_json_strict(text, path, kManifestDepth);
  try {
    const std::string wanted = document.at("xxh3");
    document.erase("xxh3");
    const std::string got = hash_hex(bytes_of(document.dump()));
    if (wanted != got) {
      throw CheckpointError(path + " is damaged: wanted checksum " + wanted + ", got " + got);
    }
    if (const json& format = document.at("format"); format != kFormat && format != kFormatWithMore) {
      throw CheckpointError(path + ": wanted format " + std::to_string(kFormat) + " or " +
                            std::to_string(kFormatWithMore) + ", got " + format.dump() +
                            " (saved by another version of saslm)");
    }
    Manifest manifest{count_at(document, "step", path), {}};
    for (const json& entry : document.at("files")) manifest.files.push_back(file_from(entry, path));
    check_files(manifest.files, path);
    if (json::parse(manifest_to_json(manifest)).at("xxh3") != wanted)  // there are unknown keys
      throw CheckpointError(path + ": has unknown keys");
    return manifest;
  } catch (const json::exception& e) {
    throw CheckpointError(path + " is not the manifest of a checkpoint: " + e.what());
  }
}

}  // namespace saslm
