// How ranks that were told where rank 0 listens find one another.
//
//   1. Every rank connects to rank 0, retrying, and says who it is (comm/greeting.h); rank 0 confirms it.
//   2. When all are there, rank 0 tells every rank where every other listens, and a token for step 3.
//   3. Every rank connects to those below it and accepts those above it.
//
// Two connections a pair: `data`, for what collectives carry, and `control`, for what must pass by data that
// is not read.
//
// Whoever connects and does not fit is let go, and the wait goes on: without the run's token, where there is
// one; as a rank of another build or of another number of ranks; as a rank that has come already. A rank that
// was started wrongly so learns it itself, while nobody else can end or join the run. Without a token one can
// still come first in a rank's place. Connections that say nothing are few at a time, and make room.
#pragma once
#include <vector>

#include "comm/communicator.h"
#include "comm/tcp.h"

namespace saslm {

struct Connections {
  Socket control, data;
};

// By rank; nothing at one's own. While it waits it says for whom, where and why, after a moment and then
// every half a minute. CommError when ranks are missing at the deadline, or end while others are still to
// come, naming them on rank 0 (in the second case PeerError where this program's launcher names them).
// ConfigError on a rank that rank 0 let go, on rank 0 when the port is taken, on any when the address is
// unknown. StoppedError when a signal asks to end before all are there. The others of those whom rank 0 has
// then confirmed end with StoppedError, too, or PeerError.
std::vector<Connections> meet(const LaunchedAs&, Deadline, const Waiting& = {});

}  // namespace saslm
