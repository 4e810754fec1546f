// Input: a tokenizer.json, or an encoder.json and, after a line "%merges", its vocab.bpe; then, after a line
// "%text", a text. The word "@bytes" of a vocabulary stands for those of the 256 bytes, "@fallback" for those
// of a vocabulary of characters.
#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "data/bpe_tokenizer.h"
#include "data/utf8.h"
#include "fuzz/target.h"

namespace saslm::fuzz {
namespace of_tokenizer {

constexpr std::string_view kBytes = "\"@bytes\":0", kFallback = "\"@fallback\":0", kMerges = "\n%merges\n",
                           kText = "\n%text\n";
constexpr size_t kMaxText = 200;
constexpr size_t kMaxWithPattern =
    12;  // on more, a pattern of the exponential kind takes longer than it tells

// "!":33, ... as GPT-2 spells bytes; ids are the bytes.
const std::string& byte_words() {
  static const std::string words = [] {
    std::string text;
    for (int byte = 0, next = 256; byte < 256; ++byte) {
      const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
      std::string word;
      append_utf8(word, char32_t(printable ? byte : next++));
      text += (byte > 0 ? "," : "") + nlohmann::json(word).dump() + ":" + std::to_string(byte);
    }
    return text;
  }();
  return words;
}

// "<0x00>":0, ...
const std::string& fallback_words() {
  static const std::string words = [] {
    std::string text;
    for (int byte = 0; byte < 256; ++byte)
      text += (byte > 0 ? ",\"" : "\"") + byte_fallback_word(byte) + "\":" + std::to_string(byte);
    return text;
  }();
  return words;
}

std::string expanded(std::string_view text) {
  for (const auto& [mark, words] :
       {std::pair(kBytes, &byte_words()), std::pair(kFallback, &fallback_words())}) {
    const auto [before, after] = cut(text, mark);
    if (before.size() < text.size()) return std::string(before) + *words + std::string(after);
  }
  return std::string(text);
}

bool keeps_text(const Tokenizer& tokenizer) {
  return dynamic_cast<const BpeTokenizer&>(tokenizer).keeps_text();
}

void require_sound(const Tokenizer& tokenizer, std::string_view text) {
  const auto known = [&](int32_t id) { return id >= 0 && id < tokenizer.vocab_size(); };
  std::vector<int32_t> ids, parts;
  const auto encoder = tokenizer.make_encoder();
  require(encoder->encode(text, text.size(), false, ids) == text.size(), "a text is encoded to its end");
  require(std::all_of(ids.begin(), ids.end(), known), "ids are those of the vocabulary");
  const std::string back = tokenizer.decode(ids);
  if (keeps_text(tokenizer)) require(back == text, "a text comes back from its ids");
  for (size_t at = 0; at < text.size();) {  // byte by byte, as it might come out of a pipe
    size_t used = 0;
    for (size_t n = 1; used == 0 && at + n <= text.size(); ++n)
      used = encoder->encode(text.substr(at, n), 1, at + n < text.size(), parts);
    require(used > 0, "the end of a text is a cut");
    at += used;
  }
  require(parts == ids, "ids do not depend on the parts in which a text comes");
  accepts<DataError>([&] { require(known(tokenizer.boundary()), "the boundary is in the vocabulary"); });
}

bool run(std::string_view input) {
  static const Scratch scratch;
  const auto [files, after] = cut(input, kText);
  const bool own_pattern = files.find("Regex") != files.npos;
  const std::string_view text = after.substr(0, own_pattern ? kMaxWithPattern : kMaxText);
  const auto [vocab, merges] = cut(files, kMerges);
  const bool pair = vocab.size() < files.size();
  const std::string path = scratch.write(pair ? "encoder.json" : "tokenizer.json", expanded(vocab));
  if (pair) scratch.write("vocab.bpe", merges);
  return accepts<DataError>([&] { require_sound(*make_tokenizer(path), text); });
}

std::vector<std::string> seeds() {
  const std::string model = R"("model":{"type":"BPE","vocab":{"@bytes":0,"th":256,"the":257,"Ġthe":258},)"
                            R"("merges":["t h",["th","e"],"Ġ the"],"ignore_merges":true})";
  const std::string characters =
      R"("model":{"type":"BPE","byte_fallback":true,"vocab":{"@fallback":0,"t":256,"h":257,"th":258,"▁":259,)"
      R"("</s>":260,"▁th":261},"merges":["t h","▁ th"]})";
  const std::string text = std::string(kText) + "the other\xff <|endoftext|>12" + std::string(80, 't') + "he";
  return {
      R"({"added_tokens":[{"id":259,"content":"<|endoftext|>","special":true,"normalized":false}],)"
      R"("pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"use_regex":true},)" +
          model + "}" + text,
      R"({"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"\\p{N}{1,3}| ?\\p{L}+"},)"
      R"("behavior":"Isolated","invert":false},{"type":"Split","pattern":{"String":"12"},"behavior":"Isolated"},)"
      R"({"type":"Digits","individual_digits":true},{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]},)" +
          model + "}" + text,
      R"({"added_tokens":[{"id":259,"content":"é ","special":false,"normalized":true}],"normalizer":{"type":"NFC"},)"
      R"("pre_tokenizer":{"type":"ByteLevel","add_prefix_space":true,"use_regex":true},)" +
          model + "}" + kText.data() + "é é a\u0323\u0301\xff  the \u1100\u1161\u11a8",
      R"({"added_tokens":[{"id":262,"content":"<x>","special":false,"normalized":true}],"normalizer":{"type":"Sequence",)"
      R"("normalizers":[{"type":"Prepend","prepend":"▁"},{"type":"Replace","pattern":{"String":" "},"content":"▁"}]},)" +
          characters + "}" + kText.data() + "the the <x>▁the\xff \u65e5 the</s>the",
      R"({"added_tokens":[{"id":260,"content":"</s>","special":true}],)"
      R"("pre_tokenizer":{"type":"Metaspace","replacement":"▁","prepend_scheme":"first","split":true},)" +
          characters + "}" + kText.data() + "the the ▁the</s>the",
      R"({"@bytes":0,"th":256,"the":257})" + std::string(kMerges) + "#version: 0.2\nt h\nth e\n" + text};
}

}  // namespace of_tokenizer

const Target kTokenizer = {
    "tokenizer",
    of_tokenizer::run,
    of_tokenizer::seeds,
    {std::string(of_tokenizer::kBytes), std::string(of_tokenizer::kFallback),
     std::string(of_tokenizer::kText), std::string(of_tokenizer::kMerges), "normalizer", "#version", "always",
     "never", "add_prefix_space", "ignore_merges", "\xe2\x96\x81", "\xcc\x81", "\xcc\xa3"}};

}  // namespace saslm::fuzz
