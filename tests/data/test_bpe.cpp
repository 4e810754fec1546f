// Expected ids come from the `tokenizers` library: scripts/make_tokenizer_fixtures.py.
#include "tests/data/bpe_variants.h"

namespace saslm {
namespace {

using namespace test;
using nlohmann::json;

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

// Unicode 17 has 13 numbers more: the library's Digits splits at them, while its patterns still go by
// Unicode 16.
TEST(Bpe, DigitsKnowTheNumbersOfUnicode17) {
  constexpr int kMerged = 256;  // 's, one piece only where a number ends before it
  json vocab;
  for (int byte = 0; byte < 256; ++byte) vocab[byte_character(byte)] = byte;
  vocab["'s"] = kMerged;
  const OwnFolder dir;
  const std::string path = dir / "tokenizer.json";
  for (const bool individual : {false, true}) {
    const json digits = {{"type", "Digits"}, {"individual_digits", individual}};
    const json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}};
    const json model = {
        {"type", "BPE"}, {"vocab", vocab}, {"merges", json::array({json::array({"'", "s"})})}};
    const json split = {{"type", "Sequence"}, {"pretokenizers", json::array({digits, byte_level})}};
    write_bytes(path, json{{"pre_tokenizer", split}, {"model", model}}.dump());
    const auto tokenizer = make_tokenizer(path);
    const auto ids = [&](const std::string& text) { return tokenizer->encode(text); };
    using Ids = std::vector<int32_t>;
    EXPECT_EQ(ids("\U00011de0's"), (Ids{0xf0, 0x91, 0xb7, 0xa0, kMerged}));
    EXPECT_EQ(ids("\U00011de9's"), (Ids{0xf0, 0x91, 0xb7, 0xa9, kMerged}));
    EXPECT_EQ(ids("\U00016ff4's"), (Ids{0xf0, 0x96, 0xbf, 0xb4, kMerged}));
    EXPECT_EQ(ids("\U00016ff6's"), (Ids{0xf0, 0x96, 0xbf, 0xb6, kMerged}));
    // Their neighbours are no numbers, and end no piece.
    EXPECT_EQ(ids("\U00011ddf's"), (Ids{0xf0, 0x91, 0xb7, 0x9f, '\'', 's'}));
    EXPECT_EQ(ids("\U00011dea's"), (Ids{0xf0, 0x91, 0xb7, 0xaa, '\'', 's'}));
    EXPECT_EQ(ids("\U00016ff3's"), (Ids{0xf0, 0x96, 0xbf, 0xb3, '\'', 's'}));
    EXPECT_EQ(ids("\U00016ff7's"), (Ids{0xf0, 0x96, 0xbf, 0xb7, '\'', 's'}));
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

TEST(Bpe, FingerprintsAreOfAllThatChangesIdsAndStayAsTheyWere) {
  EXPECT_EQ(make_tokenizer(kFixtures + "/base.json")->fingerprint(), "91aa87800ebc713355e2d63618a489fb");
  EXPECT_EQ(make_tokenizer(kFixtures + "/encoder.json")->fingerprint(), "0b6a38619e3ea2f215a1fdba1af9b3d9");
  EXPECT_NE(variant({{"normalizer", {{"type", "NFC"}}}})->fingerprint(), variant()->fingerprint());
}

}  // namespace
}  // namespace saslm
