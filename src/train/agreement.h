// Ranks that are given different things to do must not begin.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "comm/communicator.h"

namespace saslm {

// `mine` is what decides this rank's run. ConfigError on the first rank, naming what differs, where, and how;
// PeerError on the others.
void check_alike(const Communicator& comm, const nlohmann::json& mine);

// The program's own: the XXH3 of its file; "" where that cannot be read.
std::string build_hash();

}  // namespace saslm
