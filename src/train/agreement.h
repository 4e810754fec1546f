// Ranks that were started differently refuse to begin.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "config/config.h"

namespace saslm {

// The config's keys that must have the same value on every rank (config/rule.h), by dotted path.
nlohmann::json keys_alike_on_ranks(const Config& config);

// Compares `mine`, an object by names, between ranks. ConfigError on the first rank, with the name, the rank
// and both values, if anything differs; PeerError on the others. All ranks call it.
void check_alike(const Communicator& comm, const nlohmann::json& mine);

// On the first rank, a line for every field that is known there and is another on another rank; elsewhere
// nothing. All ranks call it. `mine`: an object of texts.
std::vector<std::string> not_as_first(const Communicator& comm, const nlohmann::ordered_json& mine);

// The program's own: the XXH3 of its file; "" where that cannot be read.
std::string build_hash();

}  // namespace saslm
