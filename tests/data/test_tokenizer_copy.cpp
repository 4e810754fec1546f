#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "data/tokenizer_copy.h"
#include "tests/data/support.h"
#include "tests/own_folder.h"

namespace saslm {
namespace {

using namespace test;
namespace fs = std::filesystem;

const std::string kFixtures = SASLM_FIXTURES_DIR;
constexpr const char* kText = "The miller's river, 1234 \xf0\x9f\x98\x80";

TEST(TokenizerCopies, NeedNoFileAndKeepTheirNameAndIds) {
  const OwnFolder own;
  const std::string path = own / "anything.json", fixture = kFixtures + "/base.json";
  fs::copy_file(fixture, path);
  const TokenizerCopy copy = copy_tokenizer(path);
  const auto before = make_tokenizer(path);
  fs::remove(path);
  const auto after = make_tokenizer(copy);
  EXPECT_EQ(after->encode(kText), before->encode(kText));
  EXPECT_EQ(after->name(), before->name());
  EXPECT_EQ(copy.name, before->name());
  EXPECT_EQ(copy.fingerprint, before->fingerprint());
  EXPECT_EQ(after->fingerprint(), before->fingerprint());
  ASSERT_EQ(copy.files.size(), 1u);
  EXPECT_EQ(copy.files.at("tokenizer.json"), read_bytes(fixture)) << "whatever the file was called";
}

TEST(TokenizerCopies, OfAPairHoldBothFiles) {
  const TokenizerCopy copy = copy_tokenizer(kFixtures);
  ASSERT_EQ(copy.files.size(), 2u);
  EXPECT_EQ(copy.files.at("vocab.bpe"), read_bytes(kFixtures + "/vocab.bpe"));
  EXPECT_EQ(make_tokenizer(copy)->encode(kText), make_tokenizer(kFixtures)->encode(kText));
  EXPECT_EQ(copy.fingerprint, make_tokenizer(kFixtures)->fingerprint());
}

TEST(TokenizerCopies, WrittenIntoAFolderAreTheSameTokenizer) {
  for (const std::string& from : {kFixtures, kFixtures + "/base.json"}) {
    const OwnFolder own;
    const TokenizerCopy copy = copy_tokenizer(from);
    for (const auto& [name, bytes] : copy.files) write_bytes(own / name, bytes);
    EXPECT_EQ(copy_tokenizer(own.path()).fingerprint, copy.fingerprint);
    EXPECT_EQ(copy_tokenizer(own.path()).files, copy.files);
  }
}

TEST(TokenizerCopies, DependOnContentNotOnPlace) {
  const OwnFolder own;
  fs::copy_file(kFixtures + "/base.json", own / "a.json");
  std::string other = read_bytes(own / "a.json");
  other += " ";
  write_bytes(own / "b.json", other);
  EXPECT_EQ(copy_tokenizer(own / "a.json").fingerprint, copy_tokenizer(kFixtures + "/base.json").fingerprint);
  EXPECT_NE(copy_tokenizer(own / "b.json").fingerprint, copy_tokenizer(own / "a.json").fingerprint);
}

TEST(TokenizerCopies, OfBytesAndOfNothing) {
  EXPECT_TRUE(copy_tokenizer("bytes").complete());
  EXPECT_EQ(make_tokenizer(copy_tokenizer("bytes"))->vocab_size(), 256);
  EXPECT_FALSE(TokenizerCopy{}.known());
  EXPECT_FALSE((TokenizerCopy{"/a.json", "ff", {}}.complete()));
  EXPECT_DATA_ERROR(copy_tokenizer("/none/at/all.json"), "/none/at/all.json");
  EXPECT_DATA_ERROR(make_tokenizer(TokenizerCopy{"/a.json", "ff", {{"vocab.bpe", ""}}}), "/a.json");
}

TEST(TokenizerCopies, TwoTokenizersAreRefusedByBothTheirNames) {
  const TokenizerOf a{"data.train", "/a.json", "1f"}, moved{"the model", "/b.json", "1f"},
      other{"the model", "/a.json", "2f"}, unknown{"the data", "", ""};
  EXPECT_EQ(require_same_tokenizer(a, moved, ""), "");
  EXPECT_EQ(require_same_tokenizer(unknown, unknown, ""), "");
  EXPECT_DATA_ERROR(
      require_same_tokenizer(a, other, "do this"),
      "data.train has the tokenizer /a.json (fingerprint 1f), the model has the tokenizer /a.json "
      "(fingerprint 2f)");
  EXPECT_DATA_ERROR(require_same_tokenizer(a, other, "do this"), "do this");
  for (const std::string& note :
       {require_same_tokenizer(a, unknown, ""), require_same_tokenizer(unknown, a, "")}) {
    EXPECT_THAT(note, testing::HasSubstr("/a.json"));
    EXPECT_THAT(note, testing::HasSubstr("the data was made with is unknown"));
  }
}

}  // namespace
}  // namespace saslm
