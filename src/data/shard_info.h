// DIR/PREFIX.json: how the shards DIR/PREFIX_000000.bin, ... were made. Optional; shards from other programs
// have none.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace saslm {

struct ShardInfo {
  std::string tokenizer;  // its name
  int64_t vocab_size = 0;
  int64_t tokens = 0;  // in all shards, boundaries included
  int64_t bytes = 0;   // of text
  int64_t documents = 0;
  std::vector<std::string> files;              // the shards' names, in order
  std::string fingerprint;                     // of the tokenizer; "" if unknown
  std::optional<int64_t> boundary_token = {};  // the id between documents; older shards lack it
};

// Compares fingerprints if both are known, since a tokenizer may have moved; else names.
bool same_tokenizer(const std::string& name, const std::string& fingerprint, const std::string& other_name,
                    const std::string& other_fingerprint);

std::string to_json(const ShardInfo& info);

// The path of this shard's .json; empty if the shard's name is not PREFIX_NNNNNN.bin.
std::string info_path_of(const std::string& shard_path);

// The path of the journal that exists beside this shard while its `saslm tokenize` is unfinished; empty
// likewise.
std::string journal_path_of(const std::string& shard_path);

// nullopt if there is no such file. DataError if it is not as to_json writes it.
std::optional<ShardInfo> read_shard_info(const std::string& path);

}  // namespace saslm
