#include "data/bpe_tokenizer.h"

#include <algorithm>

#include "core/error.h"
#include "data/utf8.h"

namespace saslm {

class BpeTokenizer::BpeEncoder : public Encoder {
 public:
  explicit BpeEncoder(const BpeTokenizer& tokenizer)
      : tokenizer_(tokenizer), splitter_(tokenizer.patterns_), words_(tokenizer.words_) {}

  size_t encode(std::string_view text, size_t until, bool open, std::vector<int32_t>& ids) override {
    size_t at = 0;
    while (at < text.size() && at < until) {
      const AddedTokens::Match token = tokenizer_.added_.find(text, at, open);
      at = encode_plain(text.substr(0, token.begin), at, until, open && token.id < 0, ids);
      if (token.id < 0 || at < token.begin || at >= until) return at;
      ids.push_back(token.id);
      at = token.end;
    }
    return at;
  }

 private:
  // Text from `at` on without added tokens; returns the cut that was reached.
  size_t encode_plain(std::string_view text, size_t at, size_t until, bool open, std::vector<int32_t>& ids) {
    while (at < text.size() && at < until) {
      const Utf8Run run = utf8_run(text, at);
      const bool grows = open && (run.end == text.size() || run.cut);
      const size_t valid = run.end - at;
      const size_t used = splitter_.split(text.substr(at, valid), grows, until - at,
                                          [&](std::string_view piece) { words_.encode(piece, ids); });
      at += used;
      if (used < valid || at == text.size() || at >= until || (open && run.cut)) return at;
      ids.push_back(tokenizer_.file_.byte_ids[uint8_t(text[at++])]);
    }
    return at;
  }

  const BpeTokenizer& tokenizer_;
  PieceSplitter splitter_;
  WordEncoder words_;
};

BpeTokenizer::BpeTokenizer(BpeFile file)
    : file_(std::move(file)),
      words_(file_),
      patterns_(file_.path, file_.steps),
      added_(file_.added),
      no_text_(file_.words.size(), false) {
  for (const AddedToken& token : file_.added)
    if (token.special) no_text_[size_t(token.id)] = true;
  if (const auto id = find_boundary()) no_text_[size_t(*id)] = true;
}

std::optional<int32_t> BpeTokenizer::find_boundary() const {
  for (const char* name : {"<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<｜end▁of▁sentence｜>"}) {
    const auto it = std::find(file_.words.begin(), file_.words.end(), name);
    if (it != file_.words.end()) return int32_t(it - file_.words.begin());
  }
  const auto special = [](const AddedToken& token) { return token.special; };
  const auto only = std::find_if(file_.added.begin(), file_.added.end(), special);
  if (std::count_if(file_.added.begin(), file_.added.end(), special) == 1) return only->id;
  return {};
}

int32_t BpeTokenizer::boundary() const {
  if (const auto id = find_boundary()) return *id;
  throw DataError(
      file_.path +
      ": no token to stand between documents: wanted <|endoftext|>, <|end_of_text|>, </s>, <eos>, or "
      "exactly one special added token; add {\"content\": \"<|endoftext|>\", \"special\": true, ...} "
      "to added_tokens, with an id of its own");
}

std::unique_ptr<Encoder> BpeTokenizer::make_encoder() const {
  return std::make_unique<BpeEncoder>(*this);
}

std::string BpeTokenizer::decode(std::span<const int32_t> ids) const {
  std::string text;
  for (const int32_t id : ids) text += word(id);
  return text;
}

int64_t BpeTokenizer::text_bytes(int32_t id) const {
  const auto size = int64_t(word(id).size());
  return no_text_[size_t(id)] ? 0 : size;
}

const std::string& BpeTokenizer::word(int32_t id) const {
  if (id < 0 || id >= vocab_size())
    throw DataError("token " + std::to_string(id) + " is outside the vocabulary 0 .. " +
                    std::to_string(vocab_size() - 1) + " of " + file_.path);
  return file_.words[size_t(id)];
}

}  // namespace saslm
