// The tensors of a model of transformers: one model.safetensors, or the shards that a
// model.safetensors.index.json lists. Weights in other forms are refused by name; a pickle is never opened.
// Errors   CheckpointError names file and tensor, wanted and got; IoError.
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

  // From here on names that begin so are looked for without it, if no tensor has it: that is how a model is
  // saved without its head.
  void allow_without(const std::string& prefix);

  const TensorInfo* find(const std::string& name) const;  // nullptr where there is none
  std::string where(const std::string& name) const;       // "FILE: tensor 'NAME'"
  std::vector<float> read(const std::string& name) const;
  std::vector<std::string> names() const;  // sorted, as find takes them

 private:
  void add(const std::string& path);
  std::string stored(const std::string& name) const;

  std::string folder_, absent_prefix_;
  std::vector<std::unique_ptr<SafetensorsReader>> files_;
  std::map<std::string, const SafetensorsReader*> holder_;  // by the names in the files
};

// The files that an index lists, sorted. CheckpointError for what is no index, or names a file outside the
// folder.
std::map<std::string, std::string> parse_weight_index(const std::string& text, const std::string& path);

}  // namespace saslm
