// The "model" block of a config, of an object in hand.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "config/config.h"

namespace saslm {

// Checked and resolved. Throws ConfigError, beginning with the key's path: model.attention.n_head.
ModelConfig read_model_block(const nlohmann::json& block);

}  // namespace saslm
