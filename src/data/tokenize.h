// Text files -> token shards and the .json that describes them.
//
// Every input file is a document. A line that consists of the separator splits a file into several
// documents and is itself dropped. Between two documents stands one boundary token, also between files; none
// before the first or after the last, so one plain document becomes exactly its own tokens. Empty documents
// are skipped.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "data/shard_info.h"
#include "data/shard_writer.h"
#include "data/tokenizer.h"

namespace saslm {

struct TokenizeOptions {
  std::vector<std::string> inputs = {};     // files or pipes, in this order
  std::string out_dir = {};                 // made if missing
  std::string prefix = "tokens";            // OUT/PREFIX_000000.bin, ... and OUT/PREFIX.json
  std::string separator = "<|endoftext|>";  // "" = inputs are never split
  int64_t tokens_per_shard = 100'000'000;
  std::optional<ShardFormat> format = {};                 // default: the narrowest that holds the vocabulary
  std::function<void(int64_t bytes_read)> progress = {};  // called about once per MiB of input
};

struct TokenizeResult {
  ShardInfo info;
  std::string info_path;
  int64_t boundaries_in_text = 0;  // tokens of the text itself that look like a boundary: worth a warning
};

// Runs in constant memory whatever the files' sizes. Shards get their final names once all text is
// written, and the .json comes last; an error before that leaves nothing behind.
// DataError: no input, an unreadable one, no text at all, or output of this prefix already there.
TokenizeResult tokenize_files(const Tokenizer& tokenizer, const TokenizeOptions& options);

}  // namespace saslm
