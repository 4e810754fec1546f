#include "data/tokenizer.h"

#include <algorithm>

#include "core/error.h"
#include "data/bpe_tokenizer.h"

namespace saslm {

namespace {

void check_byte(int32_t id) {
  if (id < 0 || id > 255)
    throw DataError("token " + std::to_string(id) + " is not a byte; the tokenizer is \"bytes\"");
}

class ByteEncoder : public Encoder {
 public:
  size_t encode(std::string_view text, size_t until, bool, std::vector<int32_t>& ids) override {
    const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
    const size_t n = std::min(text.size(), until);  // everywhere is a cut
    ids.insert(ids.end(), bytes, bytes + n);
    return n;
  }
};

}  // namespace

std::vector<int32_t> Tokenizer::encode(std::string_view text) const {
  std::vector<int32_t> ids;
  make_encoder()->encode(text, text.size(), false, ids);
  return ids;
}

int64_t Tokenizer::text_bytes_after(int32_t, int32_t id) const {
  return text_bytes(id);
}

std::unique_ptr<Encoder> ByteTokenizer::make_encoder() const {
  return std::make_unique<ByteEncoder>();
}

std::string ByteTokenizer::decode(std::span<const int32_t> ids) const {
  std::string text;
  text.reserve(ids.size());
  for (const int32_t id : ids) {
    check_byte(id);
    text.push_back(char(id));
  }
  return text;
}

int64_t ByteTokenizer::text_bytes(int32_t id) const {
  check_byte(id);
  return id == boundary() ? 0 : 1;
}

std::unique_ptr<Tokenizer> make_tokenizer(const std::string& name_or_path) {
  if (name_or_path == "bytes") return std::make_unique<ByteTokenizer>();
  return std::make_unique<BpeTokenizer>(read_bpe_file(name_or_path));
}

std::string tokenizer_name(const std::string& name_or_path) {
  return name_or_path.empty() || name_or_path == "bytes" ? name_or_path : bpe_file_path(name_or_path);
}

}  // namespace saslm
