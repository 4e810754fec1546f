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

// Holds what encoding needs besides the tokenizer: one thread's, and not longer alive than the tokenizer.
class Encoder {
 public:
  virtual ~Encoder() = default;

  // A cut is a place in a text at which encoding may stop and start again: the ids up to there, followed by
  // the ids of the rest encoded as a text of its own, are the ids of the whole. A text's end is a cut.
  //
  // Appends the ids of `text` up to the first cut at or after byte `until`, and returns that cut. When the
  // text is `open` (more may follow), stops earlier at the last cut that holds whatever follows, maybe at 0.
  // So a document of any size can be encoded in bounded memory, or in parts.
  virtual size_t encode(std::string_view text, size_t until, bool open, std::vector<int32_t>& ids) = 0;
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  virtual std::string name() const = 0;         // make_tokenizer(name()) makes the same tokenizer
  virtual std::string fingerprint() const = 0;  // differs between tokenizers that differ
  virtual int64_t vocab_size() const = 0;
  virtual int32_t boundary() const = 0;  // the id that stands between documents; DataError when there is none
  virtual std::unique_ptr<Encoder> make_encoder() const = 0;

  // The bytes that `ids` stand for. DataError when an id is outside the vocabulary.
  virtual std::string decode(std::span<const int32_t> ids) const = 0;
  // The same of one id in the middle of a text, where a space in front is one of the text.
  virtual std::string word(int32_t id) const { return decode(std::span(&id, 1)); }

  // How many bytes of text a token stands for: none where it is special, the boundary, or an id without a
  // word. DataError when it is outside the vocabulary.
  virtual int64_t text_bytes(int32_t id) const = 0;
  // The same of a token that follows another: a space that the tokenizer itself put before a text, which then
  // begins here, is none of it.
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

// "bytes", or what read_bpe_file takes: a tokenizer.json, one of GPT-2's two files, or their folder.
// DataError naming the file when there is none or it cannot be used.
std::unique_ptr<Tokenizer> make_tokenizer(const std::string& name_or_path);

// What make_tokenizer(name_or_path)->name() would be, from the paths alone; unchanged when there is no such
// tokenizer.
std::string tokenizer_name(const std::string& name_or_path);

}  // namespace saslm
