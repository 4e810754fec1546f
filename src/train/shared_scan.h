// Ranks with the same shards divide the scan of their tokens, so that each token is read once.
#pragma once
#include "comm/communicator.h"
#include "data/token_set.h"

namespace saslm {

// Ranks of one machine whose shards are the same unchanged files (ShardFile::same_text) divide them and
// exchange the results. Each machine, and each rank with its own files, reads all of its files, so ranks with
// different data still get different fingerprints.
//
// All ranks call the result equally often and in the same order. However long a scan takes, no rank waits for
// another for longer than kScanPause tokens take. All ranks learn of a token outside the vocabulary; any
// other failure throws on its own rank, and the others' calls end as for a lost rank.
ScanShards scan_among(const Communicator& comm);

}  // namespace saslm
