// A key of a config, as `saslm help KEY` shows it.
#pragma once
#include "config/keys.h"

namespace saslm {

void print(const ConfigKey& key);

}  // namespace saslm
