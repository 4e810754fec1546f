// The import form of a transformers class: the meaning of its config.json, and where our tensors are in its
// tensors. The inverse of form.h; each has its own file.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "config/config.h"
#include "export/hf_config.h"
#include "export/weight_files.h"

namespace saslm {

// The source of one of our tensors: one of theirs, or a part of it.
struct Piece {
  std::string ours;
  std::vector<int64_t> shape;
  std::string theirs;
  std::vector<int64_t> their_shape;
  bool turned = false;  // transposed: theirs is [in, out], ours [out, in]
  int64_t first = 0;    // first output row: several of our linear layers may be stacked in one of theirs
};

struct ImportForm {
  std::string architecture;
  ModelConfig model;
  std::vector<Piece> pieces;  // all tensors of the model
  std::string tied_head;      // their name of a tied head; "" if the head is separate
  // Name suffixes of other tensors that a file may contain: buffers, and biases that are zero.
  std::vector<std::string> buffers, dropped;
};

// Chosen by the class in config.json, whose keys it reads. ConfigError for a model that we would not compute
// exactly.
ImportForm import_form(HfConfig& config, WeightFiles& weights);
ImportForm import_llama(HfConfig& config, WeightFiles& weights);
ImportForm import_gpt2(HfConfig& config, WeightFiles& weights);

// Checks the model block made from that config, like every model block.
ModelConfig checked_model(const HfConfig& config, const nlohmann::json& block);

}  // namespace saslm
