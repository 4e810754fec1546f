#include "tests/data/bpe_variants.h"

namespace saslm {
namespace {

using namespace test;
using nlohmann::json;

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
      {split({{"type", "Metaspace"}}), "no step may follow Metaspace"},
      {{{"pre_tokenizer", {{"type", "Whitespace"}}}}, "\"Whitespace\""},
      {{{"pre_tokenizer",
         {{"type", "Sequence"},
          {"pretokenizers", {{{"type", "Digits"}}, {{"type", "ByteLevel"}, {"add_prefix_space", true}}}}}}},
       "add_prefix_space"},
      {{{"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", json::array()}}}}, "ByteLevel"},
      {split({{"type", "ByteLevel"}, {"add_prefix_space", false}}), "pretokenizers[1]: no step may follow"},
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
      {regex("a*"), "empty string"},
      {{{"model", {{"type", "WordPiece"}}}},
       "model.type: \"WordPiece\" (as in BERT) is not supported, only BPE"},
      {{{"model", {{"type", "Unigram"}}}},
       "model.type: \"Unigram\" (as in T5, ALBERT and XLNet) is not supported, only BPE"},
      {{{"model", {{"type", "WordLevel"}}}}, "model.type: \"WordLevel\""},
      {{{"model", {{"dropout", 0.1}}}}, "model.dropout"},
      {{{"model", {{"end_of_word_suffix", "</w>"}}}}, "end_of_word_suffix"},
      {{{"model", {{"vocab", {{"!", nullptr}}}}}}, "it represents byte 33"},
      {{{"model", {{"vocab", {{"new", 5}}}}}}, "id 5 is used twice"},
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
  EXPECT_DATA_ERROR(make({{"model", {{"vocab", {{"<0x7F>", nullptr}}}}}}), "it represents byte 127");
  EXPECT_DATA_ERROR(make({{"model", {{"ignore_merges", true}}}}), "ignore_merges: true is supported only");
  const json merges = json::array({json::array({"<0x41>", "a"})});
  EXPECT_DATA_ERROR(make({{"model", {{"merges", merges}, {"vocab", {{"<0x41>a", 620}}}}}}),
                    "model.merges[0]: is that of a byte token");
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

TEST(Bpe, DamagedFilesAreNamed) {
  OwnFolder dir;
  EXPECT_DATA_ERROR(make_tokenizer(dir / "none.json"), "none.json");
  EXPECT_DATA_ERROR(make_tokenizer(dir.path()), "this folder has no tokenizer.json");
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
