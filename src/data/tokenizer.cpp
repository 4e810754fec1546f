#include "data/tokenizer.h"

#include "core/error.h"

namespace saslm {

void ByteTokenizer::encode(std::string_view text, std::vector<int32_t>& ids) const {
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  ids.insert(ids.end(), bytes, bytes + text.size());
}

std::string ByteTokenizer::decode(std::span<const int32_t> ids) const {
  std::string text;
  text.reserve(ids.size());
  for (const int32_t id : ids) {
    if (id < 0 || id > 255)
      throw DataError("token " + std::to_string(id) + " is no byte; the tokenizer is \"bytes\"");
    text.push_back(char(id));
  }
  return text;
}

std::unique_ptr<Tokenizer> make_tokenizer(const std::string& name_or_path) {
  if (name_or_path == "bytes") return std::make_unique<ByteTokenizer>();
  throw DataError("tokenizer \"" + name_or_path +
                  "\": this build has only \"bytes\"; data tokenized elsewhere " +
                  "can be trained on as ready-made shards");
}

}  // namespace saslm
