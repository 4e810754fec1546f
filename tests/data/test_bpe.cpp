// Expected ids come from the `tokenizers` library: scripts/make_tokenizer_fixtures.py.
#include <nlohmann/json.hpp>

#include "core/rng.h"
#include "data/bpe_tokenizer.h"
#include "tests/data/support.h"

namespace saslm {
namespace {

using nlohmann::json;
using test::OwnFolder;
using test::write_bytes;

const std::string kFixtures = SASLM_FIXTURES_DIR;

json read_json(const std::string& name) {
  return json::parse(test::read_bytes(kFixtures + "/" + name));
}

// base.json, or another file, with an RFC 7386 patch.
class Variant {
 public:
  explicit Variant(const json& patch = json::object(), const std::string& base = "base.json") {
    json whole = read_json(base);
    whole.merge_patch(patch);
    write_bytes(path(), whole.dump());
  }
  std::string path() const { return dir_ / "variant.json"; }

 private:
  OwnFolder dir_;
};

std::unique_ptr<Tokenizer> variant(const json& patch = json::object(),
                                   const std::string& base = "base.json") {
  return make_tokenizer(Variant(patch, base).path());
}

std::unique_ptr<Tokenizer> variant_of(const json& c) {  // of cases.json
  return variant(c["patch"], c["base"]);
}

json case_named(const std::string& name) {
  const json cases = read_json("cases.json");
  for (const json& c : cases["cases"])
    if (c["name"] == name) return c;
  throw std::out_of_range(name);
}

uint64_t random_below(uint64_t n, uint64_t& counter) {
  return uint64_t(uniform(stream_key(1, "bpe"), counter++) * double(n));
}

// Text, control characters, added tokens, characters cut short, bytes that never occur in UTF-8.
std::string random_bytes(size_t n_parts, uint64_t& counter) {
  static const std::vector<std::string> kParts = {"the ",     "x",
                                                  "\n",       " ",
                                                  "  ",       "'s",
                                                  "12",       "<|endoftext|>",
                                                  "<|",       "\xe2\x82",
                                                  "\xff",     "\xed\xa0",
                                                  "\xc0\x80", "\xf0\x9f",
                                                  "\xf5\x80", "\x80",
                                                  "\xe6\x97", "\xe6\x97\xa5",
                                                  "\xc3\xa9", "\xe3\x80\x80",
                                                  "ab",       "!?",
                                                  "\r\n",     "zebra",
                                                  "\t\t",     "n't",
                                                  "    ",     "\xf0\x9f\x99\x82",
                                                  "e\u0301",  "\u0323\u0301",
                                                  "\u1100",   "\u1161\u11a8",
                                                  "</s>",     "<s>",
                                                  "<tag>",    "\u2581",
                                                  "abcd",     std::string(1, '\0')};
  std::string bytes;
  for (size_t i = 0; i < n_parts; ++i) {
    const uint64_t kind = random_below(kParts.size() + 5, counter);
    if (kind < kParts.size()) {
      bytes += kParts[kind];
    } else {
      bytes += char(random_below(256, counter));
    }
  }
  return bytes;
}

TEST(Bpe, IdsAreThoseOfTheLibrary) {
  const json cases = read_json("cases.json");
  ASSERT_GE(cases["cases"].size(), 33u);
  for (const json& c : cases["cases"]) {
    const auto tokenizer = variant_of(c);
    for (size_t i = 0; i < c["ids"].size(); ++i) {
      const std::string text = cases["texts"][i];
      EXPECT_EQ(tokenizer->encode(text), c["ids"][i].get<std::vector<int32_t>>())
          << c["name"] << ": " << text;
    }
  }
}

TEST(Bpe, GptTwosPairIsReadByEitherFileOrTheFolder) {
  const json cases = read_json("cases.json");
  for (const char* name : {"", "/encoder.json", "/vocab.bpe"}) {
    const auto tokenizer = make_tokenizer(kFixtures + name);
    EXPECT_EQ(tokenizer->name(), std::filesystem::canonical(kFixtures + "/encoder.json"));
    EXPECT_EQ(tokenizer_name(kFixtures + name), tokenizer->name());
    EXPECT_EQ(tokenizer->boundary(), 638);
    EXPECT_EQ(tokenizer->vocab_size(), 639);
    for (size_t i = 0; i < cases["pair"].size(); ++i)
      EXPECT_EQ(tokenizer->encode(cases["texts"][i].get<std::string>()),
                cases["pair"][i].get<std::vector<int32_t>>());
  }
  OwnFolder dir;
  std::filesystem::copy_file(kFixtures + "/encoder.json", dir / "vocab.json");
  EXPECT_DATA_ERROR(make_tokenizer(dir.path()), "merges.txt");
  std::filesystem::copy_file(kFixtures + "/vocab.bpe", dir / "merges.txt");
  EXPECT_EQ(make_tokenizer(dir.path())->fingerprint(), make_tokenizer(kFixtures)->fingerprint());
}

// What a tokenizer does not keep: see bpe_tokenizer.h.
bool keeps_text(const std::string& name) {
  for (const char* loses : {"nfc", "qwen2", "neox", "roberta", "first", "always", "older", "ignore_merges",
                            "normalized", "tokens"})
    if (name.find(loses) != name.npos) return name == "ignore_merges" || name == "added_tokens";
  return true;
}

TEST(Bpe, AnyBytesComeBack) {
  uint64_t counter = 0;
  int kept = 0;
  const json cases = read_json("cases.json");
  for (const json& c : cases["cases"]) {
    if (!keeps_text(c["name"])) continue;
    ++kept;
    const auto tokenizer = variant_of(c);
    for (int i = 0; i < 200; ++i) {
      std::string bytes = random_bytes(40, counter);
      const std::string back = tokenizer->decode(tokenizer->encode(bytes));
      if (c["base"] == "characters.json" && c["name"] != "no_marks") bytes = spaces_for_marks(bytes);
      EXPECT_EQ(back, bytes) << c["name"];
    }
  }
  EXPECT_GE(kept, 17);
}

TEST(Bpe, ASpaceThatWasPutBeforeTextIsTakenAway) {
  const auto back = [](const char* name, const std::string& text) {
    const auto tokenizer = variant_of(case_named(name));
    return tokenizer->decode(tokenizer->encode(text));
  };
  for (const char* text : {"", "the fox", " the", "  ", "the</s>fox</s> x", "<s> a\xff the", "\xff the"})
    EXPECT_EQ(back("llama2", text), text);
  // Those that put none where there is one already cannot tell the two apart.
  for (const char* name : {"metaspace_first", "metaspace_always", "roberta"}) {
    EXPECT_EQ(back(name, "the fox"), "the fox") << name;
    EXPECT_EQ(back(name, " the fox"), "the fox") << name;
    EXPECT_EQ(back(name, "a<s>the"), "a<s>the") << name;
    EXPECT_EQ(back(name, "a\xff the"), "a\xff the") << name;
  }
  // In the middle of a text it is one of the text.
  const auto tokenizer = variant_of(case_named("llama2"));
  std::string words;
  for (const int32_t id : tokenizer->encode("the fox")) words += tokenizer->word(id);
  EXPECT_EQ(words, " the fox");
}

TEST(Bpe, NormalizedTextComesBackAsItsNormalForm) {
  const auto back = [](const std::string& text) {
    const auto tokenizer = variant_of(case_named("qwen2"));
    return tokenizer->decode(tokenizer->encode(text));
  };
  EXPECT_EQ(back("e\u0301 a\u0301\u0323"), "\u00e9 \u1ea1\u0301");
  EXPECT_EQ(back("\u1100\u1161\u11a8 \u212b"), "\uac01 \u00c5");
  EXPECT_EQ(back("\u0301\u0323"), "\u0323\u0301");
  // U+0898 came with Unicode 14: to a later one, the marks are out of order.
  EXPECT_EQ(back("a\u0345\u0898"), "a\u0345\u0898");
  EXPECT_EQ(back("e\xff\u0301"), "e\xff\u0301");  // what is no text keeps both apart
  EXPECT_EQ(back("e<|endoftext|>\u0301"), "e<|endoftext|>\u0301");
}

TEST(Bpe, ATokenStandsForTheBytesOfItsWord) {
  const auto sum = [](const char* name, const std::string& text) {
    const Variant file(case_named(name)["patch"], case_named(name)["base"]);
    const BpeTokenizer tokenizer(read_bpe_file(file.path()));
    int64_t bytes = 0;
    for (const int32_t id : tokenizer.encode(text)) bytes += tokenizer.text_bytes(id);
    return bytes;
  };
  EXPECT_EQ(sum("gpt2", "the fox<|endoftext|>\xff\u00e9"), 10);
  EXPECT_EQ(sum("qwen2", "e\u0301"), 2);
  EXPECT_EQ(sum("llama2", "the</s>fox"), 8);                  // and a space before either
  EXPECT_EQ(sum("byte_tokens_added", "\n \xe4\xb8\x80"), 6);  // bytes of text, although special
}

TEST(Bpe, BytesThatAreNoTextStandAloneAndTextBeginsAnewAfterThem) {
  const auto tokenizer = variant();
  const auto joined = [&](const std::vector<std::string>& pieces) {
    std::vector<int32_t> ids;
    for (const std::string& piece : pieces)
      for (const int32_t id : tokenizer->encode(piece)) ids.push_back(id);
    return ids;
  };
  EXPECT_EQ(tokenizer->encode("the\xff\xfe the"), joined({"the", "\xff", "\xfe", " the"}));
  EXPECT_EQ(tokenizer->encode("\xe6\x97\xe6\x97\xa5"), joined({"\xe6", "\x97", "\xe6\x97\xa5"}));
  EXPECT_EQ(tokenizer->encode("  \xc0\x80  x"), joined({"  ", "\xc0", "\x80", "  x"}));
  EXPECT_EQ(tokenizer->encode("the\xe2\x82<|endoftext|>"), joined({"the", "\xe2", "\x82", "<|endoftext|>"}));
}

// Wherever a text is cut: what is encoded of the first part, and the rest encoded anew, make the ids of the
// whole.
TEST(Bpe, ACutNeverChangesIds) {
  const json cases = read_json("cases.json");
  uint64_t counter = 0;
  std::string text = cases["texts"].back();
  text.resize(600);
  for (const char* more : {"  \n\n  x  ", "<|endoftext|>a<|endo", "<tag> the <s> fox</s>", "e\u0301\u0323 a",
                           " don't 1234567 abcdef \r\n \r\n", "    \t\t\t"})
    text += more;
  text += random_bytes(60, counter) + std::string(70, 'y') + "   ";
  for (const json& c : cases["cases"]) {
    const auto tokenizer = variant_of(c);
    const auto encoder = tokenizer->make_encoder();
    const std::vector<int32_t> whole = tokenizer->encode(text);
    size_t longest_wait = 0;
    for (size_t cut = 0; cut <= text.size(); ++cut) {
      std::vector<int32_t> ids;
      const size_t done =
          encoder->encode(std::string_view(text).substr(0, cut), std::string_view::npos, true, ids);
      ASSERT_LE(done, cut);
      longest_wait = std::max(longest_wait, cut - done);
      EXPECT_EQ(encoder->encode(std::string_view(text).substr(done), std::string_view::npos, false, ids),
                text.size() - done);
      ASSERT_EQ(ids, whole) << c["name"] << " cut at byte " << cut << ", done " << done;

      // The same from the first cut at or after a byte.
      ids.clear();
      const size_t from = encoder->encode(text, cut, false, ids);
      ASSERT_GE(from, cut);
      encoder->encode(std::string_view(text).substr(from), std::string_view::npos, false, ids);
      ASSERT_EQ(ids, whole) << c["name"] << " stopped at byte " << from;
    }
    if (c["name"] == "llama2_digits") continue;  // what lies between digits is one piece
    EXPECT_LT(longest_wait, 200u) << c["name"];  // else files would not stream
  }
}

// The definition, step by step.
std::vector<int32_t> merged_by_hand(const BpeFile& file, const std::string& piece) {
  std::vector<int32_t> ids;
  for (const char byte : piece) ids.push_back(file.byte_ids[uint8_t(byte)]);
  while (true) {
    for (const BpeMerge& merge : file.merges) {
      for (size_t i = 0; i + 1 < ids.size(); ++i) {
        if (ids[i] != merge.left || ids[i + 1] != merge.right) continue;
        ids[i] = merge.merged;
        ids.erase(ids.begin() + std::ptrdiff_t(i) + 1);
        goto merged;
      }
    }
    return ids;
  merged:;
  }
}

TEST(Bpe, MergesByRankThenFromTheLeftWhateverTheLength) {
  const BpeFile file = read_bpe_file(kFixtures);
  const BpeWords words(file);
  WordEncoder encoder(words);
  uint64_t counter = 0;
  for (int i = 0; i < 400; ++i) {
    std::string piece;
    const uint64_t letters = 2 + random_below(12, counter);
    for (uint64_t n = 1 + random_below(200, counter); n > 0; --n)
      piece += "enthaoirs ltu"[random_below(letters, counter)];
    std::vector<int32_t> ids;
    encoder.encode(piece, ids);
    ASSERT_EQ(ids, merged_by_hand(file, piece)) << piece;
    encoder.encode(piece, ids);  // now from memory
    ASSERT_EQ(std::vector<int32_t>(ids.begin() + std::ptrdiff_t(ids.size() / 2), ids.end()),
              merged_by_hand(file, piece));
  }
}

TEST(Bpe, AMillionLettersWithoutABreakAreOnePiece) {
  const auto tokenizer = make_tokenizer(kFixtures);
  for (const char* letter : {"a", " ", "\n", "=", "\xe5\xad\x97"}) {
    std::string text;
    while (text.size() < 1'000'000) text += letter;
    EXPECT_TRUE(tokenizer->decode(tokenizer->encode(text)) == text) << letter;
  }
}

TEST(Bpe, DocumentsAreKeptApartByTheFirstTokenThatServes) {
  const auto token = [](int id, const char* content, bool special) {
    return json{{"id", id}, {"content", content}, {"special", special}};
  };
  const auto boundary = [](const json& added) { return variant({{"added_tokens", added}})->boundary(); };
  EXPECT_EQ(boundary({token(638, "</s>", true), token(639, "<|endoftext|>", true)}), 639);
  EXPECT_EQ(boundary({token(638, "<s>", true), token(639, "</s>", false)}), 639);
  EXPECT_EQ(boundary({token(638, "plain", false), token(639, "<only>", true)}), 639);
  EXPECT_DATA_ERROR(boundary({token(638, "<a>", true), token(639, "<b>", true)}), "<|endoftext|>");
  EXPECT_DATA_ERROR(boundary(json::array()),
                    "add to added_tokens {\"id\": 638, \"content\": \"<|endoftext|>\"");
}

TEST(Bpe, DecodesOnlyItsVocabulary) {
  const auto tokenizer = variant({{"model", {{"vocab", {{"high", 700}}}}}, {"added_tokens", json::array()}});
  EXPECT_EQ(tokenizer->vocab_size(), 701);
  EXPECT_EQ(tokenizer->decode(std::vector<int32_t>{650}), "");  // a hole
  EXPECT_DATA_ERROR(tokenizer->decode(std::vector<int32_t>{701}), "token 701");
  EXPECT_DATA_ERROR(tokenizer->decode(std::vector<int32_t>{-1}), "token -1");
}

TEST(Bpe, WhatIsNotSupportedIsRefusedByName) {
  const auto split = [](const json& step) {
    const json last = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
    return json{{"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {step, last}}}}};
  };
  const auto regex = [&](const std::string& pattern) {
    return split({{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}});
  };
  const std::vector<std::pair<json, std::string>> refused = {
      {{{"normalizer", {{"type", "NFKC"}}}}, "normalizer: \"NFKC\""},
      {{{"normalizer", {{"type", "Lowercase"}}}}, "normalizer: \"Lowercase\""},
      {{{"normalizer", {{"type", "Prepend"}, {"prepend", "x"}}}}, "normalizer: only one Prepend"},
      {{{"normalizer", {{"type", "Prepend"}, {"prepend", "\u2581"}}}}, "together with Replace"},
      {{{"normalizer", {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "b"}}}},
       "only Replace"},
      {{{"normalizer", {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "\u2581"}}}},
       "not supported before ByteLevel"},
      {{{"pre_tokenizer", nullptr}}, "model: byte_fallback: wanted true"},
      {{{"pre_tokenizer", {{"type", "Metaspace"}, {"replacement", "_"}}}}, "replacement: only"},
      {{{"pre_tokenizer", {{"type", "Metaspace"}, {"prepend_scheme", "last"}}}}, "prepend_scheme: wanted"},
      {split({{"type", "Metaspace"}}), "nothing may follow Metaspace"},
      {{{"pre_tokenizer", {{"type", "Whitespace"}}}}, "\"Whitespace\""},
      {{{"pre_tokenizer",
         {{"type", "Sequence"},
          {"pretokenizers", {{{"type", "Digits"}}, {{"type", "ByteLevel"}, {"add_prefix_space", true}}}}}}},
       "add_prefix_space"},
      {{{"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", json::array()}}}}, "ByteLevel"},
      {split({{"type", "ByteLevel"}, {"add_prefix_space", false}}), "pretokenizers[1]: nothing may follow"},
      {split({{"type", "Split"}, {"pattern", {{"Regex", "a"}}}, {"behavior", "MergedWithNext"}}),
       "MergedWithNext"},
      {split({{"type", "Split"}, {"pattern", {{"Regex", "a"}}}, {"behavior", "Removed"}}), "Removed"},
      {split({{"type", "Split"}, {"pattern", {{"Regex", ""}}}, {"behavior", "Isolated"}}),
       "pattern: it is empty"},
      {split({{"type", "Split"}, {"pattern", 3}, {"behavior", "Isolated"}}),
       "pattern: wanted an object, got 3"},
      {regex("^a"), "at byte 0: the anchor ^"},
      {regex("a$+"), "a quantifier of $"},
      {regex("(?<=a)b"), "(?<"},
      {regex("(?i)b"), "(?i"},
      {regex("(*FAIL)"), "(*F"},
      {regex("\\ba"), "\\b"},
      {regex("\\w+"), "\\w"},
      {regex("(a)\\1"), "\\1"},
      {regex("\\p{Han}+"), "\\p{Han}"},
      {regex("\\p{Cn}+"), "\\p{Cn}"},
      {regex("\\pL"), "wanted {NAME}"},
      {regex("[a[^b]]"), "a negated set inside a set"},
      {regex("[[:alpha:]]"), "[: inside a set"},
      {regex("[[a]-z]"), "- beside a set"},
      {regex("(?i:[\xc3\xa9])"), "outside ASCII"},
      {regex("(?i:[\\p{Lu}])"), "under (?i:"},
      {regex("[a-z&&b]"), "&&"},
      {regex("[\\s-z]"), "- beside a set"},
      {regex("[z-a]"), "runs backwards"},
      {regex("[ab"), "without ]"},
      {regex("\\p{N}{1,3}+?"), "quantifier of a quantifier"},
      {regex("\\p{N}{1,3}?"), "quantifier of a quantifier"},
      {regex("a{,3}"), "{n,m}"},
      {regex("+a"), "nothing before +"},
      {regex("a\\"), "a backslash at the end"},
      {regex("\\x{110000}"), "names no character"},
      {regex("\\xff"), "\\xHH"},
      {regex("(?i:ss)"), "\"ss\""},
      {regex("(?i:\xc3\xa9)"), "outside ASCII"},
      {regex("(a"), "missing"},
      {regex("a*"), "empty text"},
      {{{"model", {{"type", "WordPiece"}}}},
       "model.type: \"WordPiece\" (the kind of BERT) is not read, only BPE"},
      {{{"model", {{"type", "Unigram"}}}},
       "model.type: \"Unigram\" (the kind of T5, ALBERT and XLNet) is not read, only BPE"},
      {{{"model", {{"type", "WordLevel"}}}}, "model.type: \"WordLevel\""},
      {{{"model", {{"dropout", 0.1}}}}, "model.dropout"},
      {{{"model", {{"end_of_word_suffix", "</w>"}}}}, "end_of_word_suffix"},
      {{{"model", {{"vocab", {{"!", nullptr}}}}}}, "which stands for byte 33"},
      {{{"model", {{"vocab", {{"new", 5}}}}}}, "id 5 is taken twice"},
      {{{"model", {{"vocab", {{"new", -5}}}}}}, "got -5"},
      {{{"model", {{"vocab", {{"new", "x"}}}}}}, "\"new\": wanted a token id"},
      {{{"model", {{"vocab", 5}}}}, "model.vocab: wanted an object"},
      {{{"model", {{"merges", {"a"}}}}}, "model.merges[0]"},
      {{{"model", {{"merges", {{"a"}}}}}}, "model.merges[0]: wanted two words"},
      {{{"model", {{"merges", {"\u00f0 \u0141", "q zzz"}}}}}, "model.merges[1]: \"zzz\""},
      {{{"model", {{"merges", nullptr}}}}, "\"merges\" is missing"},
      {{{"model", nullptr}}, "\"model\" is missing"},
      {{{"added_tokens", {{{"id", 5}, {"content", "<x>"}}}}},
       "added_tokens[0]: id 5, but the library would give it 638"},
      {{{"added_tokens", {{{"id", 700}, {"content", "a"}}}}}, "\"a\" has id"},
      {{{"added_tokens", {{{"id", 638}, {"content", "<x>"}, {"lstrip", true}}}}}, "lstrip"},
      {{{"added_tokens", {{{"content", "<x>"}}}}}, "\"id\" is missing"},
  };
  for (const auto& [patch, part] : refused) {
    const Variant file(patch);
    EXPECT_DATA_ERROR(make_tokenizer(file.path()), part);
    EXPECT_DATA_ERROR(make_tokenizer(file.path()), "variant.json");
  }
}

TEST(Bpe, WordsOfCharactersMustStandForAllBytes) {
  const auto make = [](const json& patch) { variant(patch, "characters.json"); };
  EXPECT_NO_THROW(make(json::object()));
  EXPECT_DATA_ERROR(make({{"model", {{"byte_fallback", false}}}}), "byte_fallback: wanted true");
  EXPECT_DATA_ERROR(make({{"model", {{"vocab", {{"<0x7F>", nullptr}}}}}}), "which stands for byte 127");
  EXPECT_DATA_ERROR(make({{"model", {{"ignore_merges", true}}}}), "ignore_merges: true is supported only");
  const json merges = json::array({json::array({"<0x41>", "a"})});
  EXPECT_DATA_ERROR(make({{"model", {{"merges", merges}, {"vocab", {{"<0x41>a", 620}}}}}}),
                    "model.merges[0]: is of a word that stands for a byte");
}

TEST(Bpe, FilesOfOtherKindsAreNamedWithWhatToDo) {
  OwnFolder dir;
  write_bytes(dir / "tokenizer.model", "\n\x0e\n\x05<unk>\x15");
  EXPECT_DATA_ERROR(make_tokenizer(dir / "tokenizer.model"), "a SentencePiece model");
  EXPECT_DATA_ERROR(make_tokenizer(dir.path()), "tokenizer.model: a SentencePiece model");
  EXPECT_DATA_ERROR(make_tokenizer(dir.path()), "save_pretrained");
  write_bytes(dir / "spm", "\n\x0e\n\x05<unk>\x15");
  EXPECT_DATA_ERROR(make_tokenizer(dir / "spm"), "a SentencePiece model");
  for (const char* name : {"x.tiktoken", "x.model", "x"}) {
    write_bytes(dir / name, "IQ== 0\nIg== 1\n");
    EXPECT_DATA_ERROR(make_tokenizer(dir / name), "file of tiktoken");
    EXPECT_DATA_ERROR(make_tokenizer(dir / name), "convert_tiktoken_to_fast");
  }
  write_bytes(dir / "vocab.txt", "[PAD]\n[UNK]\n");
  EXPECT_DATA_ERROR(make_tokenizer(dir / "vocab.txt"), "WordPiece");
}

TEST(Bpe, AByteOrderMarkIsRefused) {
  const OwnFolder dir;
  write_bytes(dir / "tokenizer.json", "\xef\xbb\xbf" + test::read_bytes(kFixtures + "/base.json"));
  EXPECT_DATA_ERROR(make_tokenizer(dir.path()), "tokenizer.json: begins with a byte order mark (EF BB BF)");
  write_bytes(dir / "tokenizer.json", test::read_bytes(kFixtures + "/base.json"));
  EXPECT_NO_THROW(make_tokenizer(dir.path()));
}

TEST(Bpe, FingerprintsAreOfAllThatChangesIdsAndStayAsTheyWere) {
  EXPECT_EQ(make_tokenizer(kFixtures + "/base.json")->fingerprint(), "91aa87800ebc713355e2d63618a489fb");
  EXPECT_EQ(make_tokenizer(kFixtures + "/encoder.json")->fingerprint(), "0b6a38619e3ea2f215a1fdba1af9b3d9");
  EXPECT_NE(variant({{"normalizer", {{"type", "NFC"}}}})->fingerprint(), variant()->fingerprint());
}

TEST(Bpe, DamagedFilesAreNamed) {
  OwnFolder dir;
  EXPECT_DATA_ERROR(make_tokenizer(dir / "none.json"), "none.json");
  EXPECT_DATA_ERROR(make_tokenizer(dir.path()), "this folder holds no tokenizer.json");
  write_bytes(dir / "t.json", "{\"model\": ");
  EXPECT_DATA_ERROR(make_tokenizer(dir / "t.json"), "t.json: not JSON");
  write_bytes(dir / "t.json", "[]");
  EXPECT_DATA_ERROR(make_tokenizer(dir / "t.json"), "t.json: wanted an object");
  std::filesystem::copy_file(kFixtures + "/encoder.json", dir / "encoder.json");
  EXPECT_DATA_ERROR(make_tokenizer(dir.path()), "vocab.bpe");
  write_bytes(dir / "vocab.bpe", "#version: 0.2\n\u00f0 \u0141\nt h e\n");
  EXPECT_DATA_ERROR(make_tokenizer(dir.path()), "vocab.bpe: line 3: wanted two words");
  write_bytes(dir / "vocab.bpe", "\u00f0 \u0141\r\nzzz q\r\n");
  EXPECT_DATA_ERROR(make_tokenizer(dir.path()), "vocab.bpe: line 2: \"zzz\"");
}

// Damage of any kind: an error that names the file, or a tokenizer that gives bytes back.
TEST(Bpe, NestingWithoutEndIsRefused) {
  const OwnFolder dir;
  const std::string deep = std::string(1'000'000, '[') + std::string(1'000'000, ']');
  write_bytes(dir / "tokenizer.json", R"({"pre_tokenizer":)" + deep + R"(,"model":{}})");
  EXPECT_DATA_ERROR(make_tokenizer(dir.path()), "pre_tokenizer: wanted an object, got an array");
}

TEST(Bpe, DamageNeverCrashes) {
  const OwnFolder dir;
  const std::string path = dir / "t.json", sample = "the quick 12 \xff<|endoftext|>\n  don't \xe6\x97\xa5";
  uint64_t counter = 0;
  int usable = 0;
  for (const char* variant_name : {"gpt2", "deepseek", "added_tokens", "llama2", "qwen2"}) {
    const json c = case_named(variant_name);
    json whole = read_json(c["base"]);
    whole.merge_patch(c["patch"]);
    // What is not words comes first, and half of the damage falls on it.
    const nlohmann::ordered_json ordered = {{"added_tokens", whole["added_tokens"]},
                                            {"normalizer", whole["normalizer"]},
                                            {"pre_tokenizer", whole["pre_tokenizer"]},
                                            {"model", whole["model"]}};
    const std::string good = ordered.dump();
    for (int i = 0; i < 400; ++i) {
      std::string bytes = good;
      for (uint64_t n = 1 + random_below(4, counter); n > 0 && !bytes.empty(); --n) {
        const size_t at =
            size_t(random_below(i % 2 == 0 ? bytes.size() : std::min<size_t>(bytes.size(), 1000), counter));
        switch (random_below(5, counter)) {
          case 0:
            bytes[at] = char(random_below(256, counter));
            break;
          case 1:
            bytes.erase(at, 1 + random_below(20, counter));
            break;
          case 2:
            bytes.insert(at, bytes.substr(random_below(bytes.size(), counter), random_below(30, counter)));
            break;
          case 3:
            bytes[at] = "0123456789{}[]\",:\\()*+?|-"[random_below(25, counter)];
            break;
          default:
            bytes.resize(at);
        }
      }
      write_bytes(path, bytes);
      try {
        const auto tokenizer = make_tokenizer(path);
        EXPECT_EQ(tokenizer->decode(tokenizer->encode(sample)), sample);
        ++usable;
      } catch (const DataError& error) {
        EXPECT_THAT(std::string(error.what()), testing::HasSubstr(path));
      }
    }
  }
  EXPECT_GT(usable, 10);  // the damage was not always in the same place
}

}  // namespace
}  // namespace saslm
