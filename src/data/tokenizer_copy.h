// A run's copy of a tokenizer's files, independent of the originals; and the comparison of two tokenizers.
#pragma once
#include <map>
#include <memory>
#include <string>

#include "data/tokenizer.h"

namespace saslm {

struct TokenizerCopy {
  std::string name;                          // Tokenizer::name() when it was copied; "": unknown
  std::string fingerprint;                   // of the content; "": unknown
  std::map<std::string, std::string> files;  // BpeTexts::files; empty for "bytes", and if only the name is
                                             // known

  bool known() const { return !name.empty(); }
  bool complete() const { return name == "bytes" || !files.empty(); }  // make_tokenizer can make it
};

// `name_or_path` as for make_tokenizer. The files are read but not parsed. DataError if they do not exist.
TokenizerCopy copy_tokenizer(const std::string& name_or_path);

// From a complete copy; reads no file. DataError with the name of the original file.
std::unique_ptr<Tokenizer> make_tokenizer(const TokenizerCopy& copy);

// Whether the files of a name exist.
bool tokenizer_exists(const std::string& name_or_path);

struct TokenizerOf {
  std::string whose;  // for messages, such as "data.train"
  std::string name, fingerprint;
};

// DataError if both are known and differ (same_tokenizer), with both names and `advice`. If only one is
// known, returns a text about what could not be compared; else "".
std::string require_same_tokenizer(const TokenizerOf& a, const TokenizerOf& b, const std::string& advice);

}  // namespace saslm
