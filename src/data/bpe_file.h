// Tokenizer files of two kinds, read and checked:
//
//   tokenizer.json             Hugging Face `tokenizers`: BPE over bytes (GPT-2, Llama 3, Qwen, ...), or over
//                              characters with bytes for those without a word (Llama 2, Mistral, Gemma)
//   encoder.json + vocab.bpe   GPT-2's own, also called vocab.json + merges.txt
//
// BPE over bytes spells them as printable characters (byte_of_character). What would lose text is refused
// with its name, as is everything unsupported, and other kinds of files. Only what does not change ids is
// ignored silently: decoder, padding, truncation, and the post-processor, since saslm puts the boundary
// between documents itself.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "data/bpe_stages.h"

namespace saslm {

struct BpeMerge {
  int32_t left, right, merged;
};

struct AddedToken {
  std::string content;  // matched in the raw text first
  int32_t id = 0;
  bool special = false;
  bool normalized = false;  // false: matched first, in the whole text; true: in the text between those
};

struct BpeFile {
  std::string path;                   // absolute path of the file that names the tokenizer
  std::string fingerprint;            // of the content of its file or files: xxh3-128
  std::vector<std::string> words;     // bytes of each id; "" if the id is unused
  std::vector<bool> spelled;          // per id: whether text can spell this token
  std::array<int32_t, 256> byte_ids;  // of single-byte tokens
  std::vector<BpeMerge> merges;       // in order of rank
  std::vector<AddedToken> added;
  BpeStages stages;
  bool ignore_merges = false;  // a piece that is itself a token is not built by merges
};

// The raw content of a tokenizer's file or files.
struct BpeTexts {
  std::string path;                          // as BpeFile::path
  std::map<std::string, std::string> files;  // content by name: "tokenizer.json", whatever its name on
                                             // disk, or the two of a pair under their names on disk
};

// `path`: a file of either kind, or a folder with one. DataError with the file's name.
BpeTexts read_bpe_texts(const std::string& path);
// BpeFile::fingerprint: of the content alone.
std::string bpe_fingerprint(const BpeTexts& texts);
// DataError with file and key.
BpeFile parse_bpe(const BpeTexts& texts);
// Both at once.
BpeFile read_bpe_file(const std::string& path);

// BpeFile::path of the tokenizer at `path`, without reading it. Unchanged if there is none.
std::string bpe_file_path(const std::string& path);

// The merges file that belongs to a vocabulary file; "" for a tokenizer.json.
std::string bpe_merges_path(const std::string& path);

// The token for a byte in character BPE: <0x0A>.
std::string byte_fallback_word(int byte);

// The printable character that represents a byte in byte-level BPE, in UTF-8.
std::string byte_character(int byte);

}  // namespace saslm
