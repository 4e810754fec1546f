// Ranks that are given different things to do must not begin.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "comm/communicator.h"

namespace saslm {

// `mine` is what decides this rank's run. ConfigError on the first rank, naming what differs, where, and how;
// PeerError on the others.
void check_alike(const Communicator& comm, const nlohmann::json& mine);

// On the first rank, a line for every field that is known there and is another on another rank; elsewhere
// nothing. All ranks call it. `mine`: an object of texts.
std::vector<std::string> not_as_first(const Communicator& comm, const nlohmann::ordered_json& mine);

// The program's own: the XXH3 of its file; "" where that cannot be read.
std::string build_hash();

}  // namespace saslm
