// Tokenizer files of two kinds, read and checked:
//
//   tokenizer.json             Hugging Face `tokenizers`: BPE over bytes (GPT-2, Llama 3, Qwen, ...), or over
//                              characters with bytes for those without a word (Llama 2, Mistral, Gemma)
//   encoder.json + vocab.bpe   GPT-2's own, also called vocab.json + merges.txt
//
// BPE over bytes spells them as printable characters (byte_of_character). What would lose text is refused by
// name, as is whatever else we do not support, and other kinds of files; nothing is silently ignored but what
// does not change ids: decoder, padding, truncation, and the post-processor, for the boundary between
// documents is ours to put.
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
  std::string content;  // found in the raw text before anything else
  int32_t id = 0;
  bool special = false;
  bool normalized = false;  // false: looked for first, in the whole text; true: in what that leaves
};

struct BpeFile {
  std::string path;                   // absolute; of the file that names the tokenizer
  std::string fingerprint;            // of the content of its file or files: xxh3-128
  std::vector<std::string> words;     // bytes of each id; "" where there is no such id
  std::vector<bool> spelled;          // per id: a word that text can spell, so that pieces can be it
  std::array<int32_t, 256> byte_ids;  // of the words of one byte
  std::vector<BpeMerge> merges;       // the first is done first
  std::vector<AddedToken> added;
  BpeStages stages;
  bool ignore_merges = false;  // a piece that is itself a word is not built up by merges
};

// A tokenizer's file or files as they are, unread.
struct BpeTexts {
  std::string path;                          // as BpeFile::path
  std::map<std::string, std::string> files;  // content by name: "tokenizer.json", whatever it is called on
                                             // the disk, or the two of a pair as they are called there
};

// `path` is a file of either kind, or a folder that holds one. DataError naming the file.
BpeTexts read_bpe_texts(const std::string& path);
// BpeFile::fingerprint: of the content alone.
std::string bpe_fingerprint(const BpeTexts& texts);
// DataError naming file and key.
BpeFile parse_bpe(const BpeTexts& texts);
// Both at once.
BpeFile read_bpe_file(const std::string& path);

// The path that names the tokenizer which `path` leads to: BpeFile::path, without reading. Unchanged when
// there is none.
std::string bpe_file_path(const std::string& path);

// Of a path that names a tokenizer of two files, the other one, its merges; "" for a tokenizer.json.
std::string bpe_merges_path(const std::string& path);

// How a word that stands for a byte is spelled where words are made of characters: <0x0A>.
std::string byte_fallback_word(int byte);

// The printable character that stands for a byte, in UTF-8.
std::string byte_character(int byte);

}  // namespace saslm
