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

// The encoding state of one thread; the tokenizer must outlive it.
class Encoder {
 public:
  virtual ~Encoder() = default;

  // A cut is a place where encoding may stop and restart: the ids up to there, followed by the ids of the
  // rest encoded separately, are the ids of the whole text. The end of a text is a cut.
  //
  // Appends the ids of `text` up to the first cut at or after byte `until`, and returns that cut. If the text
  // is `open` (more may follow), stops earlier, at the last cut that is valid whatever follows, possibly 0.
  // So a document of any size can be encoded in bounded memory, or in parts.
  virtual size_t encode(std::string_view text, size_t until, bool open, std::vector<int32_t>& ids) = 0;
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  virtual std::string name() const = 0;         // make_tokenizer(name()) makes the same tokenizer
  virtual std::string fingerprint() const = 0;  // differs between different tokenizers
  virtual int64_t vocab_size() const = 0;
  virtual int32_t boundary() const = 0;  // the id between documents; DataError if there is none
  virtual std::unique_ptr<Encoder> make_encoder() const = 0;

  // The bytes of `ids`. DataError if an id is outside the vocabulary.
  virtual std::string decode(std::span<const int32_t> ids) const = 0;
  // The same for one id in the middle of a text, where a leading space belongs to the text.
  virtual std::string word(int32_t id) const { return decode(std::span(&id, 1)); }

  // Number of bytes of text of a token; 0 if it is special, the boundary, or unused. DataError if it is
  // outside the vocabulary.
  virtual int64_t text_bytes(int32_t id) const = 0;
  // The same for a token after another: a space that the tokenizer inserted at the start of a text does not
  // count.
  virtual int64_t text_bytes_after(int32_t before, int32_t id) const;

  std::vector<int32_t> encode(std::string_view text) const;  // all of it
};

// Ids 0 .. 255 are the bytes themselves. The boundary is 0: NUL does not occur in text.
class ByteTokenizer : public Tokenizer {
 public:
  std::string name() const override { return "bytes"; }
  std::string fingerprint() const override { return "bytes"; }
  int64_t vocab_size() const override { return 256; }
  int32_t boundary() const override { return 0; }
  std::unique_ptr<Encoder> make_encoder() const override;
  std::string decode(std::span<const int32_t> ids) const override;
  int64_t text_bytes(int32_t id) const override;
};

// "bytes", a tokenizer.json, one of GPT-2's two files, or a folder with them. DataError with the file's name
// if it does not exist or cannot be used.
std::unique_ptr<Tokenizer> make_tokenizer(const std::string& name_or_path);

// make_tokenizer(name_or_path)->name(), from the paths only; unchanged if there is no such tokenizer.
std::string tokenizer_name(const std::string& name_or_path);

}  // namespace saslm
