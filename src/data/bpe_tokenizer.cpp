#include "data/bpe_tokenizer.h"

#include <algorithm>

#include "core/error.h"
#include "data/normalizer.h"
#include "data/staged_encoder.h"
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
  // Encodes text without added tokens from `at`; returns the cut it reached.
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

namespace {

// The tokens that are matched in normalized text, normalized.
std::vector<AddedToken> normalized(std::vector<AddedToken> tokens, const BpeStages& stages) {
  for (AddedToken& token : tokens)
    if (token.normalized)
      token.content = NormalizedText(stages, token.content, stages.prefix == SpacePrefix::segment).view();
  return tokens;
}

}  // namespace

BpeTokenizer::BpeTokenizer(BpeFile file)
    : file_(std::move(file)),
      words_(file_),
      patterns_(file_.path, file_.stages.steps),
      characters_(file_),
      added_(normalized(file_.added, file_.stages)),
      added_ids_(file_.words.size()),
      no_text_(file_.words.size()) {
  for (const AddedToken& token : file_.added) {
    added_ids_[size_t(token.id)] = true;
    no_text_[size_t(token.id)] = token.special;
  }
  if (file_.stages.characters)
    for (const int32_t id : file_.byte_ids) added_ids_[size_t(id)] = no_text_[size_t(id)] = false;
  boundary_ = find_boundary();
  if (boundary_) no_text_[size_t(*boundary_)] = true;
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
  if (boundary_) return *boundary_;
  throw DataError(
      file_.path +
      ": no token to separate documents: wanted <|endoftext|>, <|end_of_text|>, </s>, <eos>, or exactly one "
      "special added token; add to added_tokens {\"id\": " +
      std::to_string(vocab_size()) +
      ", \"content\": \"<|endoftext|>\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, "
      "\"normalized\": false, \"special\": true}; the vocabulary then has one more token");
}

std::unique_ptr<Encoder> BpeTokenizer::make_encoder() const {
  const BpeStages& stages = file_.stages;
  if (!stages.nfc && !stages.characters && stages.prefix == SpacePrefix::none)
    return std::make_unique<BpeEncoder>(*this);
  return std::make_unique<StagedEncoder>(BpeParts{file_, words_, patterns_, characters_, added_});
}

const std::string& BpeTokenizer::checked_word(int32_t id) const {
  if (id < 0 || id >= vocab_size())
    throw DataError("token " + std::to_string(id) + " is outside the vocabulary 0 .. " +
                    std::to_string(vocab_size() - 1) + " of " + file_.path);
  return file_.words[size_t(id)];
}

std::string BpeTokenizer::decode(std::span<const int32_t> ids) const {
  const SpacePrefix prefix = file_.stages.prefix;
  std::string text;
  bool put_before = prefix != SpacePrefix::none;
  for (const int32_t id : ids) {
    const std::string_view word = checked_word(id);
    const bool added = added_ids_[size_t(id)];
    text += put_before && !added && word.starts_with(' ') ? word.substr(1) : word;
    put_before = added && (prefix == SpacePrefix::segment || prefix == SpacePrefix::piece);
  }
  return text;
}

bool BpeTokenizer::keeps_text() const {
  const BpeStages& stages = file_.stages;
  const auto stands_for_byte = [&](const AddedToken& token) {
    return stages.characters && token.content != file_.words[size_t(token.id)];
  };
  return !stages.nfc && !stages.spaces_marked && stages.prefix == SpacePrefix::none &&
         std::none_of(file_.added.begin(), file_.added.end(), stands_for_byte);
}

std::string BpeTokenizer::word(int32_t id) const {
  return checked_word(id);
}

int64_t BpeTokenizer::text_bytes(int32_t id) const {
  const std::string& word = checked_word(id);
  return no_text_[size_t(id)] ? 0 : int64_t(word.size());
}

int64_t BpeTokenizer::text_bytes_after(int32_t before, int32_t id) const {
  const int64_t bytes = text_bytes(id);
  checked_word(before);
  const SpacePrefix prefix = file_.stages.prefix;
  if (prefix == SpacePrefix::none || bytes == 0 || added_ids_[size_t(id)]) return bytes;
  const bool text_begins =
      before == boundary_ ||
      (added_ids_[size_t(before)] && (prefix == SpacePrefix::segment || prefix == SpacePrefix::piece));
  return text_begins && file_.words[size_t(id)].starts_with(' ') ? bytes - 1 : bytes;
}

}  // namespace saslm
