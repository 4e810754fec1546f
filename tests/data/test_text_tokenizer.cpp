#include "data/bpe_tokenizer.h"
#include "data/shard_info.h"
#include "data/text_tokenizer.h"
#include "data/tokenize.h"
#include "tests/data/support.h"

namespace saslm {
namespace {

using test::OwnFolder;
using test::write_bytes;

const std::string kTokenizers = SASLM_FIXTURES_DIR;

std::string info_json(const std::string& tokenizer, const std::string& fingerprint) {
  ShardInfo info;
  info.tokenizer = tokenizer, info.vocab_size = 639, info.tokens = 4, info.bytes = 4, info.documents = 1;
  info.files = {"t_000000.bin"};
  info.fingerprint = fingerprint;
  return to_json(info);
}

int64_t bytes_of(const Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
  int64_t bytes = 0;
  for (const int32_t id : ids) bytes += tokenizer.text_bytes(id);
  return bytes;
}

TEST(TextBytes, OfByteTokensAreOneButOfTheBoundaryNone) {
  const ByteTokenizer tokenizer;
  EXPECT_EQ(tokenizer.text_bytes(1), 1);
  EXPECT_EQ(tokenizer.text_bytes(255), 1);
  EXPECT_EQ(tokenizer.text_bytes(0), 0);
  EXPECT_DATA_ERROR(tokenizer.text_bytes(256), "not a byte");
  EXPECT_DATA_ERROR(tokenizer.text_bytes(-1), "not a byte");
}

TEST(TextBytes, OfATextAreItsBytes) {
  const std::string text = "The river, d\xc3\xa9j\xc3\xa0 vu: 1234 \xe2\x82\xac\n\n\tand more\xff text.";
  for (const std::string& name : std::vector<std::string>{"bytes", kTokenizers + "/base.json", kTokenizers}) {
    const auto tokenizer = make_tokenizer(name);
    EXPECT_EQ(bytes_of(*tokenizer, tokenizer->encode(text)), int64_t(text.size())) << name;
    EXPECT_EQ(tokenizer->text_bytes(tokenizer->boundary()), 0) << name;
  }
}

TEST(TextBytes, OfSpecialTokensAreNoneAndOfOtherAddedOnesTheirText) {
  BpeFile file = read_bpe_file(kTokenizers + "/base.json");
  const auto add = [&](const std::string& content, bool special) {
    const auto id = int32_t(file.words.size());
    file.words.push_back(content);
    file.spelled.push_back(false);
    file.added.push_back({.content = content, .id = id, .special = special});
    return id;
  };
  const int32_t user = add("<|user|>", true), name = add("saslm", false);
  file.words.emplace_back();  // an id without a word
  file.spelled.push_back(false);
  const auto hole = int32_t(file.words.size()) - 1;
  const BpeTokenizer tokenizer(std::move(file));
  EXPECT_EQ(tokenizer.text_bytes(user), 0);
  EXPECT_EQ(tokenizer.text_bytes(name), 5);
  EXPECT_EQ(tokenizer.text_bytes(hole), 0);
  EXPECT_DATA_ERROR(tokenizer.text_bytes(int32_t(tokenizer.vocab_size())), "outside the vocabulary");
}

// Llama-2's kind puts a space before every text, which is none of the text's.
TEST(TextBytes, OfASpaceThatTheTokenizerPutBeforeATextAreNone) {
  const auto tokenizer = make_tokenizer(kTokenizers + "/characters.json");
  const std::string first = "no king", second = " of the sea";
  std::vector<int32_t> ids = tokenizer->encode(first);
  ids.push_back(tokenizer->boundary());
  for (const int32_t id : tokenizer->encode(second)) ids.push_back(id);
  int64_t bytes = 0;
  int32_t before = tokenizer->boundary();
  for (const int32_t id : ids) bytes += tokenizer->text_bytes_after(before, id), before = id;
  EXPECT_EQ(bytes, int64_t(first.size() + second.size()));
  EXPECT_GT(bytes_of(*tokenizer, ids), bytes);
}

TEST(TextTokenizer, IsTheFirstThatIsThere) {
  const OwnFolder dir;
  write_bytes(dir / "t_000000.bin", test::llmc_u16({1, 2, 3, 4}));
  const std::string fingerprint = make_tokenizer(kTokenizers + "/base.json")->fingerprint();
  write_bytes(dir / "t.json", info_json("/was/here.json", fingerprint));
  const TokenSet set({dir / "t_*.bin"}, 639, 1);
  const TextTokenizer moved = find_text_tokenizer(set, {"", set.tokenizer(), kTokenizers + "/base.json"});
  ASSERT_TRUE(moved.tokenizer);
  EXPECT_EQ(moved.tokenizer->fingerprint(), fingerprint);
  EXPECT_EQ(moved.why_not, "");
  const TextTokenizer gone = find_text_tokenizer(set, {"", set.tokenizer()});
  EXPECT_FALSE(gone.tokenizer);
  EXPECT_THAT(gone.why_not, testing::HasSubstr("/was/here.json"));
}

TEST(TextTokenizer, AnotherThanThatOfTheDataIsRefused) {
  const OwnFolder dir;
  write_bytes(dir / "t_000000.bin", test::llmc_u16({1, 2, 3, 4}));
  write_bytes(dir / "t.json", info_json(kTokenizers + "/base.json", std::string(32, 'e')));  // replaced since
  const TokenSet set({dir / "t_*.bin"}, 639, 1);
  EXPECT_DATA_ERROR(find_text_tokenizer(set, {set.tokenizer()}), "is not the one that made the data");
  EXPECT_DATA_ERROR(check_made_by(set, ByteTokenizer()), "the tokenizer bytes is not the one");
}

TEST(TextTokenizer, IsNotGuessed) {
  const OwnFolder dir;
  write_bytes(dir / "t.bin", test::llmc_u16({1, 2, 300, 4}));
  const TokenSet set({dir / "t.bin"}, 639, 1);
  const TextTokenizer found = find_text_tokenizer(set, {set.tokenizer(), ""});
  EXPECT_FALSE(found.tokenizer);
  EXPECT_THAT(found.why_not, testing::HasSubstr(".json"));
  EXPECT_DATA_ERROR(find_text_tokenizer(set, {"bytes"}), "contains the token 300, which the tokenizer bytes");
  EXPECT_TRUE(find_text_tokenizer(set, {kTokenizers + "/base.json"}).tokenizer);
}

}  // namespace
}  // namespace saslm
