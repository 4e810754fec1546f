#include "export/weight_files.h"

#include <algorithm>
#include <set>

#include "checkpoint/json_strict.h"
#include "core/error.h"
#include "core/file.h"

namespace saslm {
namespace {

constexpr int kIndexDepth = 4;
constexpr int64_t kMaxIndexBytes = 64 << 20;

[[noreturn]] void refuse_other_forms(const std::string& folder) {
  const std::vector<std::string> files = list_dir(folder);
  const auto ends = [&](const char* end) {
    const auto found =
        std::find_if(files.begin(), files.end(), [&](const auto& name) { return name.ends_with(end); });
    return found == files.end() ? std::string() : folder + "/" + *found;
  };
  const std::string wanted = "wanted model.safetensors, or model.safetensors.index.json with its shards";
  for (const char* pickle : {".bin", ".pt", ".pth", ".ckpt"})
    if (const std::string path = ends(pickle); !path.empty())
      throw CheckpointError(path + ": " + wanted +
                            ", got a pickle, which can run any code when read; if you trust it, convert it: "
                            "AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(NEW)");
  for (const char* other : {".gguf", ".h5", ".msgpack", ".onnx", ".npz"})
    if (const std::string path = ends(other); !path.empty())
      throw CheckpointError(path + ": " + wanted + ", got weights in another format (*" + other + ")");
  if (const std::string path = ends(".safetensors"); !path.empty())
    throw CheckpointError(path + ": " + wanted +
                          ", got a file with another name: an adapter, or weights in another format");
  throw CheckpointError(folder + ": no weights here: " + wanted);
}

}  // namespace

std::map<std::string, std::string> parse_weight_index(const std::string& text, const std::string& path) {
  const nlohmann::json whole = parse_json_strict(text, path, kIndexDepth);
  const auto map = whole.is_object() ? whole.find("weight_map") : whole.end();
  if (!whole.is_object() || map == whole.end() || !map->is_object() || map->empty())
    throw CheckpointError(path + ": wanted an object with a weight_map from tensor names to files");
  std::map<std::string, std::string> files;
  for (const auto& [name, file] : map->items()) {
    if (!file.is_string() || file == "" || file == "." || file == ".." ||
        file.get_ref<const std::string&>().find_first_of(std::string("/\0", 2)) != std::string::npos)
      throw CheckpointError(path + ": weight_map: wanted the name of a file beside it for tensor '" + name +
                            "'");
    files[name] = file;
  }
  return files;
}

WeightFiles::WeightFiles(const std::string& folder) : folder_(folder) {
  const std::string one = folder + "/model.safetensors", index = one + ".index.json";
  if (path_exists(one)) {
    add(one);
    return;
  }
  if (!path_exists(index)) refuse_other_forms(folder);
  if (File(index, 0).size() > kMaxIndexBytes)
    throw CheckpointError(index + ": larger than 64 MiB; this is not an index");
  const auto file_of = parse_weight_index(read_file(index), index);
  std::set<std::string> names;
  for (const auto& [tensor, file] : file_of) names.insert(file);
  for (const std::string& name : names) {
    if (!path_exists(folder + "/" + name))
      throw CheckpointError(index + ": names " + name + ", which does not exist");
    add(folder + "/" + name);
  }
  for (const auto& [tensor, file] : file_of)
    if (const auto held = holder_.find(tensor);
        held == holder_.end() || held->second->path() != folder + "/" + file)
      throw CheckpointError(folder + "/" + file + ": tensor '" + tensor + "' is missing, which " + index +
                            " lists");
}

void WeightFiles::add(const std::string& path) {
  files_.push_back(std::make_unique<SafetensorsReader>(path));
  for (const TensorInfo& tensor : files_.back()->tensors())
    if (!holder_.emplace(tensor.name, files_.back().get()).second)
      throw CheckpointError(path + ": tensor '" + tensor.name + "' is also in another file");
}

void WeightFiles::allow_without(const std::string& prefix) {
  const auto first = holder_.lower_bound(prefix);
  if (first == holder_.end() || !first->first.starts_with(prefix)) absent_prefix_ = prefix;
}

std::string WeightFiles::stored(const std::string& name) const {
  return !absent_prefix_.empty() && name.starts_with(absent_prefix_) ? name.substr(absent_prefix_.size())
                                                                     : name;
}

const TensorInfo* WeightFiles::find(const std::string& name) const {
  const auto held = holder_.find(stored(name));
  return held == holder_.end() ? nullptr : held->second->find(held->first);
}

std::string WeightFiles::where(const std::string& name) const {
  const auto held = holder_.find(stored(name));
  return (held == holder_.end() ? folder_ : held->second->path()) + ": tensor '" + stored(name) + "'";
}

std::vector<float> WeightFiles::read(const std::string& name) const {
  const TensorInfo* const tensor = find(name);
  if (!tensor) throw CheckpointError(where(name) + " is missing");
  std::vector<float> values(size_t(tensor->count));
  holder_.at(tensor->name)->read(tensor->name, values);
  return values;
}

std::vector<std::string> WeightFiles::names() const {
  std::vector<std::string> names;
  for (const auto& [name, file] : holder_) names.push_back(name);
  return names;
}

}  // namespace saslm
