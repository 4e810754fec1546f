#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/file.h"
#include "data/shard_file.h"

namespace saslm {

// Writes DIR/PREFIX_000000.bin, ..._000001.bin, ... of `tokens_per_shard` tokens each; only the last is
// shorter. Every file is written under a temporary name and fsynced; finish() gives them their final names.
// Until then the temporary files stay, for a later writer to resume from, or for discard(). The formats'
// n_tokens is an int32, so more than 2^31 - 1 tokens per shard are refused (DataError).
class ShardWriter {
 public:
  ShardWriter(std::string dir, std::string prefix, ShardFormat format, int64_t tokens_per_shard);
  ShardWriter(const ShardWriter&) = delete;
  ShardWriter& operator=(const ShardWriter&) = delete;

  // Call before the first append: resumes from what a writer with the same arguments left. Keeps its first
  // `n_tokens` tokens, which were synced, and drops the rest. DataError if they are missing.
  void resume(int64_t n_tokens);

  void append(std::span<const int32_t> tokens);  // DataError if the format cannot store one of them
  void sync();                                   // all tokens so far are then on disk
  std::vector<std::string> finish();             // the shards' file names, without DIR
  void discard();                                // removes the temporary files

 private:
  std::string name_of_shard(size_t number) const;
  int64_t bytes_of_shard(int64_t n_tokens) const;
  void open_shard();
  void flush();
  void close_shard();

  std::string dir_, prefix_;
  ShardFormat format_;
  int64_t tokens_per_shard_;
  File file_;
  int64_t in_shard_ = 0;            // tokens of the open shard, 0 when none is open
  std::vector<std::byte> buffer_;   // not yet written
  std::vector<std::string> names_;  // of all shards so far; the open one is last
};

}  // namespace saslm
