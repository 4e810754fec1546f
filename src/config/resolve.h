// What no single key can tell: sizes that follow from others, and values that do not go together.
#pragma once
#include <string>

#include "config/config.h"

namespace saslm {

// Fill in what was not given (0) and throw ConfigError, beginning with the key's path, for what cannot be.
void resolve(ModelConfig& model);
void resolve(Config& config, const std::string& config_path);

}  // namespace saslm
