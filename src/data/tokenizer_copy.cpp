#include "data/tokenizer_copy.h"

#include <filesystem>

#include "core/error.h"
#include "data/bpe_file.h"
#include "data/bpe_tokenizer.h"
#include "data/shard_info.h"

namespace saslm {
namespace {

std::string described(const TokenizerOf& t) {
  return t.whose + " has the tokenizer " + t.name +
         (t.fingerprint.empty() || t.fingerprint == t.name ? "" : " (fingerprint " + t.fingerprint + ")");
}

}  // namespace

TokenizerCopy copy_tokenizer(const std::string& name_or_path) {
  if (name_or_path == "bytes") return {"bytes", ByteTokenizer().fingerprint(), {}};
  BpeTexts texts = read_bpe_texts(name_or_path);
  std::string fingerprint = bpe_fingerprint(texts);
  return {std::move(texts.path), std::move(fingerprint), std::move(texts.files)};
}

std::unique_ptr<Tokenizer> make_tokenizer(const TokenizerCopy& copy) {
  check(copy.complete(), "a tokenizer is made from a complete copy");
  if (copy.name == "bytes") return std::make_unique<ByteTokenizer>();
  return std::make_unique<BpeTokenizer>(parse_bpe({copy.name, copy.files}));
}

bool tokenizer_exists(const std::string& name_or_path) {
  std::error_code unknown;
  return name_or_path == "bytes" || std::filesystem::exists(name_or_path, unknown);
}

std::string require_same_tokenizer(const TokenizerOf& a, const TokenizerOf& b, const std::string& advice) {
  if (a.name.empty() && b.name.empty()) return "";
  if (a.name.empty() || b.name.empty()) {
    const auto &known = a.name.empty() ? b : a, &unknown = a.name.empty() ? a : b;
    return described(known) + "; which one " + unknown.whose +
           " was made with is unknown, so the two could not be compared";
  }
  if (same_tokenizer(a.name, a.fingerprint, b.name, b.fingerprint)) return "";
  throw DataError(described(a) + ", " + described(b) +
                  ": these are two tokenizers, and the ids of one mean " + "other text in the other; " +
                  advice);
}

}  // namespace saslm
