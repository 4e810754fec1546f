// One form of a model of transformers as ours: what its config.json says, and where in its tensors ours are.
// The inverse of form.h; each is a file of its own.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "config/config.h"
#include "export/hf_config.h"
#include "export/weight_files.h"

namespace saslm {

// One tensor of ours, whole, out of one of theirs.
struct Piece {
  std::string ours;
  std::vector<int64_t> shape;
  std::string theirs;
  std::vector<int64_t> their_shape;
  bool turned = false;  // theirs is [in, out], ours [out, in]
  int64_t first = 0;    // of theirs' outs: several of our linears lie there beside each other
};

struct ImportForm {
  std::string architecture;
  ModelConfig model;
  std::vector<Piece> pieces;  // every tensor of that model
  std::string tied_head;      // their name of a head that is the embeddings again; "" where it has its own
  // Ends of the names of what a file may hold beside weights: buffers that are made anew, zeros that add
  // nothing.
  std::vector<std::string> buffers, dropped;
};

// By the class that config.json names; each takes what it knows of the keys. ConfigError for what we would
// not compute exactly.
ImportForm import_form(HfConfig& config, WeightFiles& weights);
ImportForm import_llama(HfConfig& config, WeightFiles& weights);
ImportForm import_gpt2(HfConfig& config, WeightFiles& weights);

// A model block made of that config, checked as every model block is.
ModelConfig checked_model(const HfConfig& config, const nlohmann::json& block);

}  // namespace saslm
