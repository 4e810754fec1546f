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

// Compares the JSON object `mine` between ranks. If a value differs: ConfigError on rank 0, with the key, the
// other rank and both values; PeerError on the other ranks. All ranks call it.
void check_alike(const Communicator& comm, const nlohmann::json& mine);

// On rank 0: one line for each field of the JSON object `mine` (of strings) that has another value on another
// rank. Nothing on other ranks. All ranks call it.
std::vector<std::string> not_as_first(const Communicator& comm, const nlohmann::ordered_json& mine);

// XXH3 of the running program's file; "" if it cannot be read.
std::string build_hash();

}  // namespace saslm
