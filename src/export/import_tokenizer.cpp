#include "export/import_tokenizer.h"

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"
#include "data/bpe_file.h"
#include "data/tokenizer.h"
#include "export/tokenizer_files.h"

namespace saslm {
namespace {

using nlohmann::ordered_json;

constexpr const char* kHow = "; give --tokenizer FILE to commands that need one";

bool has_a_tokenizer(const std::string& folder) {
  for (const char* name :
       {"tokenizer.json", "vocab.json", "merges.txt", "tokenizer.model", "spiece.model", "vocab.txt"})
    if (path_exists(folder + "/" + name)) return true;
  return false;
}

// Whether transformers would add tokens around a text.
bool adds_tokens(const std::string& text) {
  const ordered_json whole = ordered_json::parse(text);
  const auto last = whole.find("post_processor");
  return last != whole.end() && last->is_object() &&
         (!last->contains("type") || (*last)["type"] != "ByteLevel");
}

void take_files(ImportedTokenizer& result, const Tokenizer& tokenizer, const std::string& out) {
  const std::string merges = bpe_merges_path(tokenizer.name()), text = read_file(tokenizer.name());
  if (!merges.empty()) {
    result.files = {{"vocab.json", text}, {"merges.txt", read_file(merges)}};
    result.name = out + "/vocab.json";
    return;
  }
  result.files = {{"tokenizer.json", text}};
  result.name = out + "/tokenizer.json";
  if (adds_tokens(text))
    result.notes.push_back(
        "in transformers the tokenizer's post_processor adds tokens around a text; saslm adds only the "
        "boundary between documents");
}

}  // namespace

ImportedTokenizer import_tokenizer(const std::string& from, const std::string& out,
                                   const ModelConfig& model) {
  ImportedTokenizer result;
  if (!has_a_tokenizer(from)) {
    result.notes.push_back("no tokenizer was written: none was found in " + from + kHow);
    return result;
  }
  const std::string json_path = from + "/tokenizer.json";
  if (path_exists(json_path) && is_byte_tokenizer(read_file(json_path)))
    return {.name = "bytes", .fingerprint = "bytes"};
  try {
    const auto tokenizer = make_tokenizer(from);
    take_files(result, *tokenizer, out);
    result.fingerprint = tokenizer->fingerprint();  // the files are copied unchanged
    if (tokenizer->vocab_size() > model.vocab_size)
      result.notes.push_back("the tokenizer has " + std::to_string(tokenizer->vocab_size()) +
                             " tokens, but the model has only " + std::to_string(model.vocab_size) +
                             ": text with the others cannot be used");
  } catch (const DataError& error) {
    result = {.notes = {"no tokenizer was written: saslm does not support this one: " +
                        std::string(error.what()) + kHow}};
  }
  return result;
}

}  // namespace saslm
