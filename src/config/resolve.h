// Checks and defaults that involve several keys.
#pragma once
#include <string>

#include "config/config.h"

namespace saslm {

// Fills in values that were not given (0). Throws ConfigError, starting with the key's path, for impossible
// combinations.
void resolve(ModelConfig& model);
void resolve(Config& config, const std::string& config_path);

}  // namespace saslm
