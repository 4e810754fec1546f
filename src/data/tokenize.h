// Text -> token shards and the .json that describes them.
//
// Inputs are files, folders, patterns, pipes or standard input (find_inputs.h): text or JSON lines, also
// compressed (byte_source.h), or parquet (parquet.h). Every input of text is a document, and a line that
// consists of the separator splits it into several and is itself dropped; every JSON line and every row is a
// document. Between two documents stands one boundary token, also between files; none before the first or
// after the last, so one plain document becomes exactly its own tokens. Empty documents are skipped.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "data/shard_file.h"
#include "data/shard_info.h"
#include "data/text_input.h"
#include "data/tokenizer.h"

namespace saslm {

struct TokenizeProgress {
  int64_t bytes_read = 0;    // of the inputs, and turned into tokens
  int64_t bytes_total = -1;  // of all inputs; -1 when one of them is a pipe
  int64_t resumed_from = 0;  // bytes_read when this run began
};

struct TokenizeOptions {
  std::vector<std::string> inputs = {};     // in this order: see find_inputs.h
  std::string out_dir = {};                 // made if missing
  std::string prefix = "tokens";            // OUT/PREFIX_000000.bin, ... and OUT/PREFIX.json
  std::string separator = "<|endoftext|>";  // "" = text is never split
  InputFormat input_format = InputFormat::automatic;
  std::optional<std::string> field = {};  // of JSON lines and parquet: "text" unless told
  int64_t tokens_per_shard = 100'000'000;
  std::optional<ShardFormat> format = {};  // default: the narrowest that holds the vocabulary
  int threads = 0;                         // 0 = as many as there are cores; the shards do not depend on it
  double journal_interval_s = 5;           // after a kill, at most about so much work is done again
  std::function<void(const TokenizeProgress&)> progress = {};  // called about once per MiB of input
  std::function<void(const std::string&)> note = {};           // a line that the user should read
};

struct TokenizeResult {
  ShardInfo info;
  std::string info_path;           // "" when none was written: tokens of an unknown tokenizer
  int64_t boundaries_in_text = 0;  // tokens of the text itself that look like a boundary: worth a warning
  int64_t resumed_from = 0;        // bytes of the inputs that an interrupted run had done
};

// Runs in memory that depends on the number of threads, on the longest word, on the longest JSON line and on
// the largest page of a parquet file's column, not on the files' sizes.
//
// Shards get their final names once all text is written, and the .json comes last. Until then
// OUT/PREFIX.journal says how far the work has come. A run that was killed, or that an error stopped, goes on
// from there when it is started again with the same arguments and unchanged inputs, and ends with the shards,
// byte for byte, of a run that was not. (From the beginning when an input is a pipe or standard input.)
//
// DataError: no input, an unreadable one, one that is no text by its first bytes, output of this prefix
// already there, an unfinished run of other arguments, another run at work on the same output. Nothing is
// left of a run that ends because of what an input holds: no text at all, a bad line, damaged compression, a
// change while it was read.
TokenizeResult tokenize_files(const Tokenizer& tokenizer, const TokenizeOptions& options);

}  // namespace saslm
