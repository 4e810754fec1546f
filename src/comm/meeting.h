// How ranks connect to each other, given the address of rank 0.
//
//   1. Every rank connects to rank 0, retrying, and says who it is (comm/greeting.h); rank 0 confirms it.
//   2. When all are there, rank 0 tells every rank where every other listens, and a token for step 3.
//   3. Every rank connects to those below it and accepts those above it.
//
// Each pair has two connections: `data` for collectives, and `control` for messages that must not queue
// behind unread data.
//
// Unsuitable connections are refused and the wait continues: without the run's token, if there is one; from
// another build or with another number of ranks; as a rank that is already there. So a rank that was started
// wrongly reports that itself, and nobody else can end or join the run. Without a token, another program can
// still take a rank's place first. Silent connections are limited in number, and give way to new ones.
#pragma once
#include <vector>

#include "comm/communicator.h"
#include "comm/tcp.h"

namespace saslm {

struct Connections {
  Socket control, data;
};

// Returns the connections by rank; none at this rank's own place. While waiting, prints for whom, where and
// why, after a moment and then every 30 s. CommError if ranks are missing at the deadline, or end while
// others are missing; rank 0's error names them (in the second case PeerError if our own launcher names
// them). ConfigError on a rank that rank 0 refused, on rank 0 if the port is taken, on any rank if the
// address does not resolve. StoppedError if a signal requests a stop before all are there; ranks that rank 0
// had accepted then also end with StoppedError, or with PeerError.
std::vector<Connections> meet(const LaunchedAs&, Deadline, const Waiting& = {});

}  // namespace saslm
