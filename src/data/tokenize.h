// Turns text into token shards and the .json that describes them.
//
// Inputs are files, folders, patterns, pipes or standard input (find_inputs.h): text or JSON lines, also
// compressed (byte_source.h), or parquet (parquet.h). Every text input is a document; lines that consist of
// the separator split it and are dropped. Every JSON line and every row is a document. One boundary token
// separates two documents, also between files; there is none before the first or after the last, so a single
// document becomes exactly its own tokens. Empty documents are skipped.
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
  int64_t bytes_read = 0;    // of the inputs, already tokenized
  int64_t bytes_total = -1;  // of all inputs; -1 if one of them is a pipe
  int64_t resumed_from = 0;  // bytes_read when this run started
};

struct TokenizeOptions {
  std::vector<std::string> inputs = {};     // in this order: see find_inputs.h
  std::string out_dir = {};                 // made if missing
  std::string prefix = "tokens";            // OUT/PREFIX_000000.bin, ... and OUT/PREFIX.json
  std::string separator = "<|endoftext|>";  // "" = text is never split
  InputFormat input_format = InputFormat::automatic;
  std::optional<std::string> field = {};  // of JSON lines and parquet; default "text"
  int64_t tokens_per_shard = 100'000'000;
  std::optional<ShardFormat> format = {};  // default: the narrowest that fits the vocabulary
  int threads = 0;                         // 0 = all cores; the shards do not depend on it
  double journal_interval_s = 5;           // after a kill, about this much work at most is repeated
  std::function<void(const TokenizeProgress&)> progress = {};  // called about once per MiB of input
  std::function<void(const std::string&)> note = {};           // called with lines for the user
};

struct TokenizeResult {
  ShardInfo info;
  std::string info_path;           // "" if none was written: the tokenizer is unknown
  int64_t boundaries_in_text = 0;  // tokens in the text that look like a boundary: worth a warning
  int64_t resumed_from = 0;        // bytes of the inputs that an interrupted run had processed
};

// Memory depends on the number of threads, the longest piece, the longest JSON line and the largest page of a
// parquet column, not on file sizes.
//
// Shards get their final names once all text is written, and the .json comes last. Until then
// OUT/PREFIX.journal records the progress. A run that was killed or failed resumes from there if it is
// started again with the same arguments and unchanged inputs, and its shards are byte-identical to those of
// an uninterrupted run. (It starts from the beginning if an input is a pipe or standard input.)
//
// DataError: no input, an unreadable input, one that is not text, existing output with this prefix, an
// unfinished run with other arguments, another run that is writing the same output. A run that fails because
// of an input's content (no text, a bad line, damaged compression, a change while reading) leaves no files.
TokenizeResult tokenize_files(const Tokenizer& tokenizer, const TokenizeOptions& options);

}  // namespace saslm
