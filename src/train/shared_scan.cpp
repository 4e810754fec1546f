#include "train/shared_scan.h"

#include <algorithm>
#include <bit>
#include <fstream>
#include <span>

#include "checkpoint/hash.h"
#include "core/error.h"

namespace saslm {
namespace {

constexpr const char* kDoing = "reading of the data";

// What a rank tells between two pieces of its work.
struct Word {
  int64_t shard = -1;  // scanned since; -1: none
  int64_t min_token = 0, max_token = 0, bad_offset = -1, bad_token = 0;
  std::array<uint64_t, 2> hash = {};
  int64_t done = 0;  // there will be no more

  ShardScan scan() const {
    ShardScan scan{.min_token = min_token, .max_token = max_token, .bad_token = bad_token, .hash = hash};
    if (bad_offset >= 0) scan.bad_offset = bad_offset;
    return scan;
  }
};
Word word_of(size_t shard, const ShardScan& scan) {
  return {.shard = int64_t(shard),
          .min_token = scan.min_token,
          .max_token = scan.max_token,
          .bad_offset = scan.bad_offset.value_or(-1),
          .bad_token = scan.bad_token,
          .hash = scan.hash};
}

// Equal on the ranks that one scan serves: one start of one machine, the same files, the same vocabulary.
std::string readers_of(const Communicator& comm, const std::vector<ShardFile>& shards, int64_t vocab_size) {
  std::string machine;
  std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), machine);
  if (machine.empty()) machine = "rank " + std::to_string(comm.rank());  // not known: alone
  std::string all = machine + "\n" + std::to_string(vocab_size);
  for (const ShardFile& shard : shards) all += "\n" + shard.same_text();
  const XXH128_hash_t hash = XXH3_128bits(all.data(), all.size());
  return std::to_string(hash.high64) + " " + std::to_string(hash.low64);
}

class SharedScan {
 public:
  SharedScan(const Communicator& comm, const std::vector<ShardFile>& shards, int64_t vocab_size)
      : comm_(comm), scans_(shards.size()), known_(shards.size()) {
    const std::vector<std::string> all = gather_texts(comm, readers_of(comm, shards, vocab_size), kDoing);
    for (int rank = 0; rank < comm.size(); ++rank)
      if (all[size_t(rank)] == all[size_t(comm.rank())]) readers_.push_back(rank);
    const auto me = std::find(readers_.begin(), readers_.end(), comm.rank());
    for (size_t s = size_t(me - readers_.begin()); s < shards.size(); s += readers_.size())
      tell(word_of(s, shards[s].scan(vocab_size, [this] { tell({}); })));
    while (!all_done_) tell({.done = 1});
    check(std::find(known_.begin(), known_.end(), false) == known_.end(), "every shard has its reader");
  }

  std::vector<ShardScan> scans() && { return std::move(scans_); }

 private:
  void tell(const Word& mine) {
    std::vector<Word> all(size_t(comm_.size()));
    comm_.gather(std::as_bytes(std::span(&mine, 1)), std::as_writable_bytes(std::span(all)), kDoing);
    for (const int rank : readers_)
      if (const Word& word = all[size_t(rank)]; word.shard >= 0) {
        scans_.at(size_t(word.shard)) = word.scan();
        known_.at(size_t(word.shard)) = true;
      }
    all_done_ = std::all_of(all.begin(), all.end(), [](const Word& word) { return word.done != 0; });
  }

  const Communicator& comm_;
  std::vector<int> readers_;  // of the same shards, this rank among them, ascending
  std::vector<ShardScan> scans_;
  std::vector<bool> known_;
  bool all_done_ = false;
};

}  // namespace

ScanShards scan_among(const Communicator& comm) {
  if (comm.size() == 1) return scan_alone;
  return [&comm](const std::vector<ShardFile>& shards, int64_t vocab_size) {
    return SharedScan(comm, shards, vocab_size).scans();
  };
}

}  // namespace saslm
