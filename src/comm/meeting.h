// How ranks that were told where rank 0 listens find one another.
//
//   1. Every rank connects to rank 0, retrying, and says who it is (Greeting); rank 0 confirms it.
//   2. When all are there, rank 0 tells every rank where every other listens.
//   3. Every rank connects to those below it and accepts those above it.
//
// Two connections a pair: `data`, for what collectives carry, and `control`, for what must pass by data that
// is not read. Whoever connects and is no rank of saslm is let go and changes nothing.
#pragma once
#include <vector>

#include "comm/communicator.h"
#include "comm/tcp.h"

namespace saslm {

struct Connections {
  Socket control, data;
};

// By rank; nothing at one's own. CommError when ranks are missing at the deadline, or end while others are
// still to come, naming them on rank 0 (in the second case PeerError where this program's launcher names
// them); ConfigError when two processes were started as one rank, or as one of other numbers of ranks, when
// the port is taken or the address unknown. The others of those whom rank 0 has then confirmed end with
// PeerError.
std::vector<Connections> meet(const LaunchedAs&, Deadline);

}  // namespace saslm
