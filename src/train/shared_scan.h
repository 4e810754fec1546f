// Ranks that read the same shards look at every token once together, not once each.
#pragma once
#include "comm/communicator.h"
#include "data/token_set.h"

namespace saslm {

// Ranks of one machine whose shards are the same files, unchanged since (ShardFile::same_text), part them
// among themselves and tell each other what they found; every machine, and every rank with files of its own,
// reads all of its own. So each rank knows every byte that it has itself, and fingerprints that differ still
// differ.
//
// All ranks call it, as often and in the same order; however long a scan takes, no rank waits for another
// longer than for kScanPause tokens. A token outside the vocabulary is told to all; what else fails throws on
// the rank where it does, and ends the others' calls as any lost rank.
ScanShards scan_among(const Communicator& comm);

}  // namespace saslm
