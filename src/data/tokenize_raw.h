// Bare token ids, as nanoGPT's train.bin holds them -> token shards, and the .json where a tokenizer is
// named.
#pragma once
#include "data/shard_file.h"
#include "data/tokenize.h"

namespace saslm {

// `options.inputs` are files of little-endian ids of `type` (u16 or u32) without any header; they follow one
// another as they are. With a tokenizer every id is checked against its vocabulary, and text and documents
// are counted; without one (nullptr) there is no .json, and result.info has no more than tokens and files.
// What tokenize_files promises of interrupted runs holds here too. DataError for what it refuses there; for
// an id outside the vocabulary; for a file that is not a whole number of ids, or that is something else by
// its first bytes, text above all.
TokenizeResult tokenize_raw(const Tokenizer* tokenizer, TokenType type, const TokenizeOptions& options);

}  // namespace saslm
