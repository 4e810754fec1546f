// The tensors of a transformers model: one model.safetensors, or the shards listed in
// model.safetensors.index.json. Other formats are refused; pickles are never opened.
//
// Throws CheckpointError with file, tensor, wanted and got; IoError.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"

namespace saslm {

class WeightFiles {
 public:
  explicit WeightFiles(const std::string& folder);

  // If no tensor name has this prefix, find() also accepts names without it: a model saved without its head
  // lacks the prefix.
  void allow_without(const std::string& prefix);

  const TensorInfo* find(const std::string& name) const;  // nullptr if absent
  std::string where(const std::string& name) const;       // "FILE: tensor 'NAME'"
  std::vector<float> read(const std::string& name) const;
  std::vector<std::string> names() const;  // sorted, as for find()

 private:
  void add(const std::string& path);
  std::string stored(const std::string& name) const;

  std::string folder_, absent_prefix_;
  std::vector<std::unique_ptr<SafetensorsReader>> files_;
  std::map<std::string, const SafetensorsReader*> holder_;  // keys: names in the files
};

// The tensors and files of an index, sorted. CheckpointError if it is not an index, or names a file outside
// the folder.
std::map<std::string, std::string> parse_weight_index(const std::string& text, const std::string& path);

}  // namespace saslm
