#include <fcntl.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "checkpoint/checkpoint.h"
#include "checkpoint/hash.h"
#include "checkpoint/manifest.h"
#include "core/error.h"
#include "core/file.h"
#include "train/origin.h"
#include "train/saved_model.h"

namespace saslm {
namespace {

using nlohmann::json;

constexpr const char* kInitFrom = "init_from";

std::string absolute(const std::string& path) {
  std::error_code unknown;
  const auto whole = std::filesystem::weakly_canonical(std::filesystem::absolute(path), unknown);
  return unknown ? path : whole.string();
}

// JSON has no other texts than UTF-8, and a path need not be that.
std::string as_text(const std::string& path) {
  return json::parse(json(path).dump(-1, ' ', false, json::error_handler_t::replace));
}

std::string hash_of_weights(const std::string& folder) {
  const File file(folder + "/" + kModelFile, O_RDONLY);
  return hash_range(file, 0, file.size());
}

}  // namespace

Origin origin_of_weights(const SavedModel& model) {
  Origin origin{.kind = kInitFrom,
                .path = as_text(absolute(model.path)),
                .state_hash = {},
                .weights_xxh3 = {},
                .taken = "weights"};
  if (path_exists(model.path + "/" + kManifestFile)) {
    const std::string path = model.path + "/" + kManifestFile;
    origin.state_hash = state_hash(parse_manifest(read_file(path), path).files);
  }
  origin.weights_xxh3 = hash_of_weights(model.path);
  return origin;
}

bool is_of(const Origin& origin, const std::string& given) {
  if (given.empty() || origin.kind.empty()) return true;
  const std::string folder = absolute(given);
  return origin.kind == kInitFrom && (origin.path == folder || origin.path.starts_with(folder + "/"));
}

std::string weights_of(const Origin& origin, const std::string& given) {
  if (origin.kind.empty()) return given;
  if (origin == kFromSeed) {
    if (!given.empty())
      throw ConfigError("--init-from " + given + ": this run began with weights drawn by its seed");
    return "";
  }
  if (origin.kind != kInitFrom)
    throw CheckpointError("this run began in a way that this saslm does not know: " + describe(origin));
  const std::string began = "this run began with " + describe(origin) + "; ",
                    advice =
                        "give these weights with --init-from FOLDER, or replay from a later checkpoint "
                        "(--from STEP)";
  const std::string place = given.empty() ? origin.path : given;
  if (given.empty() && !path_exists(place + "/" + kModelFile))
    throw CheckpointError(began + "there is no model any more; " + advice);
  const SavedModel model = find_saved_model(place);
  if (const std::string now = hash_of_weights(model.path); now != origin.weights_xxh3)
    throw CheckpointError(began + model.path + "/" + kModelFile + " has the checksum " + now +
                          " now, so it is " + "another model; " + advice);
  return model.path;
}

}  // namespace saslm
