// Text <-> token ids. A new kind of tokenizer is a new file with a class of its own and a line in
// make_tokenizer.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace saslm {

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  virtual std::string name() const = 0;  // make_tokenizer(name()) makes the same tokenizer
  virtual int64_t vocab_size() const = 0;
  virtual int32_t boundary() const = 0;  // the id that stands between documents

  // Appends the ids of `text` to `ids`.
  virtual void encode(std::string_view text, std::vector<int32_t>& ids) const = 0;

  // How many leading bytes of `text` can be encoded now, whatever follows: the ids of a document are those of
  // its pieces cut there. Lets a file of any size be encoded in bounded memory.
  virtual size_t complete_prefix(std::string_view text) const = 0;

  // The bytes that `ids` stand for. DataError when an id is outside the vocabulary.
  virtual std::string decode(std::span<const int32_t> ids) const = 0;
};

// Ids 0 .. 255 are the bytes themselves. The boundary is 0: NUL does not occur in text.
class ByteTokenizer : public Tokenizer {
 public:
  std::string name() const override { return "bytes"; }
  int64_t vocab_size() const override { return 256; }
  int32_t boundary() const override { return 0; }
  void encode(std::string_view text, std::vector<int32_t>& ids) const override;
  size_t complete_prefix(std::string_view text) const override { return text.size(); }
  std::string decode(std::span<const int32_t> ids) const override;
};

// DataError for anything but "bytes".
std::unique_ptr<Tokenizer> make_tokenizer(const std::string& name_or_path);

}  // namespace saslm
