// A tokenizer as a run carries it: what its files hold, so that it does not matter where they lie and what
// becomes of them; and the comparison of two tokenizers, wherever a command is given both.
#pragma once
#include <map>
#include <memory>
#include <string>

#include "data/tokenizer.h"

namespace saslm {

struct TokenizerCopy {
  std::string name;                          // Tokenizer::name() when it was copied; "": not known
  std::string fingerprint;                   // of the content; "": not known
  std::map<std::string, std::string> files;  // BpeTexts::files; none for "bytes", and of one whose name is
                                             // known while its files are not to be had

  bool known() const { return !name.empty(); }
  bool complete() const { return name == "bytes" || !files.empty(); }  // make_tokenizer can make it
};

// `name_or_path` is what make_tokenizer takes. The files are read once and not looked into. DataError when
// they are not there.
TokenizerCopy copy_tokenizer(const std::string& name_or_path);

// From a complete copy; no file is read. DataError naming the file that it came from.
std::unique_ptr<Tokenizer> make_tokenizer(const TokenizerCopy& copy);

// Whether the files behind a name are there at all.
bool tokenizer_exists(const std::string& name_or_path);

struct TokenizerOf {
  std::string whose;  // for messages, as "data.train"
  std::string name, fingerprint;
};

// DataError when both are known and are two tokenizers (same_tokenizer), naming both and ending in `advice`.
// Returns what could not be compared, where only one is known; else "".
std::string require_same_tokenizer(const TokenizerOf& a, const TokenizerOf& b, const std::string& advice);

}  // namespace saslm
