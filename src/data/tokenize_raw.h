// Turns bare token ids, as in nanoGPT's train.bin, into token shards, and a .json if a tokenizer is given.
#pragma once
#include "data/shard_file.h"
#include "data/tokenize.h"

namespace saslm {

// `options.inputs` are files of little-endian ids of `type` (u16 or u32) without a header, which are
// concatenated. With a tokenizer every id is checked against its vocabulary, and text and documents are
// counted; without one (nullptr) there is no .json, and result.info has only tokens and files. Interrupted
// runs resume as in tokenize_files. DataError as there, and for an id outside the vocabulary, for a file size
// that is not a multiple of the id size, and for another type of file, especially text.
TokenizeResult tokenize_raw(const Tokenizer* tokenizer, TokenType type, const TokenizeOptions& options);

}  // namespace saslm
