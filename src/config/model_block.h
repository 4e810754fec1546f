// Reads the "model" block of a config.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "config/config.h"

namespace saslm {

// Checks and resolves it. Throws ConfigError that starts with the key's path: model.attention.n_head.
ModelConfig read_model_block(const nlohmann::json& block);

}  // namespace saslm
