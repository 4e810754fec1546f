#include <fcntl.h>
#include <sys/resource.h>

#include "data/loader.h"
#include "data/open_files.h"
#include "data/shard_info.h"
#include "data/token_set.h"
#include "tests/data/support.h"

namespace saslm {
namespace {

using test::OwnFolder;
using test::write_bytes;

struct Sample {
  std::vector<int32_t> inputs, targets;
};

Sample sample_of(const TokenSet& set, int64_t index) {
  Sample sample = {std::vector<int32_t>(size_t(set.seq_len())), std::vector<int32_t>(size_t(set.seq_len()))};
  set.read(index, {{sample.inputs.data(), int64_t(sample.inputs.size())},
                   {sample.targets.data(), int64_t(sample.targets.size())}});
  return sample;
}

std::string info_json(const std::string& tokenizer, int64_t tokens, int64_t bytes,
                      const std::vector<std::string>& files = {"t_000000.bin"}) {
  return to_json(ShardInfo{tokenizer, 256, tokens, bytes, 1, files});
}

TEST(TokenSet, SamplesStayInsideTheirShardAndDropTheTail) {
  OwnFolder dir;
  write_bytes(dir / "a.bin", test::llmc_u16({0, 1, 2, 3, 4, 5, 6, 7}));  // floor(7/3) = 2 samples
  write_bytes(dir / "b.bin", test::llmc_u16({10, 11, 12}));              // too short for one
  write_bytes(dir / "c.bin", test::llmc_u32({20, 21, 22, 23}));          // exactly one
  const TokenSet set({dir / "*.bin"}, 100, 3);
  EXPECT_EQ(set.n_tokens(), 15);
  ASSERT_EQ(set.n_samples(), 3);
  EXPECT_EQ(sample_of(set, 0).inputs, (std::vector<int32_t>{0, 1, 2}));
  EXPECT_EQ(sample_of(set, 0).targets, (std::vector<int32_t>{1, 2, 3}));
  EXPECT_EQ(sample_of(set, 1).inputs, (std::vector<int32_t>{3, 4, 5}));
  EXPECT_EQ(sample_of(set, 1).targets, (std::vector<int32_t>{4, 5, 6}));
  EXPECT_EQ(sample_of(set, 2).inputs, (std::vector<int32_t>{20, 21, 22}));
  EXPECT_EQ(sample_of(set, 2).targets, (std::vector<int32_t>{21, 22, 23}));
}

TEST(TokenSet, SamplesLongerThanTheReadBufferAreWhole) {
  OwnFolder dir;
  write_bytes(dir / "a.bin", test::llmc_u16(test::counting<uint16_t>(10'001)));
  const Sample sample = sample_of(TokenSet({dir / "a.bin"}, 65536, 5000), 1);
  for (int32_t t = 0; t < 5000; ++t) {
    ASSERT_EQ(sample.inputs[size_t(t)], 5000 + t);
    ASSERT_EQ(sample.targets[size_t(t)], 5001 + t);
  }
}

TEST(TokenSet, FilesComeInPatternOrderThenSorted) {
  OwnFolder dir;
  write_bytes(dir / "x_10.bin", test::llmc_u16({3, 0}));
  write_bytes(dir / "x_02.bin", test::llmc_u16({2, 0}));
  write_bytes(dir / "a[1].bin", test::llmc_u16({4, 0}));
  const TokenSet set({dir / "x_*.bin", dir / "a[1].bin"}, 100, 1);
  for (int64_t i = 0; i < 3; ++i) EXPECT_EQ(sample_of(set, i).inputs[0], 2 + i);
}

TEST(TokenSet, PatternsThatMatchNothingOrTheSameFileTwiceAreRefused) {
  OwnFolder dir;
  write_bytes(dir / "a.bin", test::llmc_u16({1, 2, 3}));
  std::filesystem::create_symlink(dir / "a.bin", dir / "link.bin");
  EXPECT_DATA_ERROR(TokenSet({dir / "a.bin", dir / "nothing_*"}, 100, 1), dir / "nothing_*");
  EXPECT_DATA_ERROR(TokenSet({dir / "a.bin", dir / "a*"}, 100, 1), "twice");
  EXPECT_DATA_ERROR(TokenSet({dir / "*.bin"}, 100, 1), "link.bin: the same shard");
  EXPECT_DATA_ERROR(TokenSet({}, 100, 1), "there is no shard");
}

TEST(TokenSet, TokensOutsideTheVocabularyAreNamedWithWhatWouldHoldThem) {
  OwnFolder dir;
  write_bytes(dir / "a.bin", test::llmc_u16({1, 2, 50, 60}));
  write_bytes(dir / "b.bin", test::llmc_u16({1, 70}));
  EXPECT_DATA_ERROR(TokenSet({dir / "*.bin"}, 50, 1), "a.bin: token 50 at offset 2 ");
  EXPECT_DATA_ERROR(TokenSet({dir / "*.bin"}, 50, 1), "at least 71");
  EXPECT_EQ(TokenSet({dir / "*.bin"}, 71, 1).n_samples(), 4);
  std::filesystem::rename(dir / "a.bin", dir / "t_000000.bin");
  write_bytes(dir / "t.json", info_json("bytes", 4, 4));
  EXPECT_DATA_ERROR(TokenSet({dir / "t_*.bin"}, 50, 1),
                    "needs model.vocab_size of 256, which its tokenizer has");
}

TEST(TokenSet, NegativeTokensAreRefused) {
  OwnFolder dir;
  write_bytes(dir / "m.idx", test::megatron_idx(4, {3}, {0}));
  write_bytes(dir / "m.bin", test::bytes_of<int32_t>({1, -7, 2}));
  EXPECT_DATA_ERROR(TokenSet({dir / "m.bin"}, 50, 1), "token -7 at offset 1 is negative");
}

TEST(TokenSet, DataShorterThanASampleIsRefused) {
  OwnFolder dir;
  write_bytes(dir / "a.bin", test::llmc_u16({1, 2, 3}));
  EXPECT_EQ(TokenSet({dir / "a.bin"}, 50, 2).n_samples(), 1);
  EXPECT_DATA_ERROR(TokenSet({dir / "a.bin"}, 50, 3), "needs 4");
  EXPECT_DATA_ERROR(TokenSet({dir / "a.bin"}, 50, 3), dir / "a.bin");
  write_bytes(dir / "a.bin", test::llmc_u16({}));
  EXPECT_DATA_ERROR(TokenSet({dir / "a.bin"}, 50, 1), "too short");
}

TEST(TokenSet, FingerprintFollowsContentOrderAndShardLengthsButNotNames) {
  OwnFolder dir;
  const auto print = [&](const std::string& a, const std::string& b, const std::string& suffix) {
    write_bytes(dir / ("a" + suffix), a);
    write_bytes(dir / ("b" + suffix), b);
    return TokenSet({dir / ("a" + suffix), dir / ("b" + suffix)}, 100, 1).fingerprint();
  };
  const std::string one = test::llmc_u16({1, 2, 3}), two = test::llmc_u16({4, 5});
  const std::string fingerprint = print(one, two, ".bin");
  EXPECT_EQ(fingerprint.size(), 32u);
  EXPECT_EQ(fingerprint, print(one, two, "_elsewhere.bin"));
  EXPECT_NE(fingerprint, print(two, one, ".bin"));
  EXPECT_NE(fingerprint, print(test::llmc_u16({1, 2}), test::llmc_u16({3, 4, 5}), ".bin"));
  EXPECT_NE(fingerprint, print(test::llmc_u16({1, 2, 9}), two, ".bin"));
  EXPECT_NE(print(test::llmc_u16({1, 0, 2, 0}), two, ".bin"), print(test::llmc_u32({1, 2}), two, ".bin"));
}

TEST(TokenSet, ShardThatChangesInUseIsAnErrorNamingIt) {
  OwnFolder dir;
  write_bytes(dir / "a.bin", test::llmc_u16({1, 2, 3, 4}));
  const TokenSet set({dir / "a.bin"}, 50, 1);
  std::filesystem::resize_file(dir / "a.bin", 1024 + 6);
  EXPECT_EQ(sample_of(set, 1).targets[0], 3);
  EXPECT_ERROR(sample_of(set, 2), IoError, dir / "a.bin");
  write_bytes(dir / "a.bin", test::llmc_u16({1, 2, 50, 4}));
  EXPECT_ERROR(sample_of(set, 1), IoError, dir / "a.bin");
  EXPECT_ERROR(sample_of(set, 2), IoError, dir / "a.bin");
}

TEST(TokenSet, MetadataGivesTheTokenizer) {
  OwnFolder dir;
  write_bytes(dir / "t_000000.bin", test::llmc_u16({1, 2, 3}));
  EXPECT_EQ(TokenSet({dir / "t*.bin"}, 50, 1).tokenizer(), "");
  write_bytes(dir / "t.json", info_json("bpe", 3, 12));
  const TokenSet set({dir / "t*.bin"}, 50, 1);
  EXPECT_EQ(set.tokenizer(), "bpe");
  EXPECT_THAT(set.description(), testing::HasSubstr("1 shard, 3 tokens, 2 samples of 1, tokenizer bpe"));

  write_bytes(dir / "u_000000.bin", test::llmc_u16({1}));
  write_bytes(dir / "u.json", info_json("bytes", 1, 1, {"u_000000.bin"}));
  EXPECT_DATA_ERROR(TokenSet({dir / "*.bin"}, 50, 1), "one tokenizer");
  std::filesystem::remove(dir / "u.json");
  EXPECT_EQ(TokenSet({dir / "*.bin"}, 50, 1).tokenizer(), "");
}

TEST(TokenSet, WhatSomeShardsSayIsKnownOfThoseAndOneWithoutAFingerprintHidesNone) {
  OwnFolder dir;
  const auto describe = [&](const std::string& name, const std::string& fingerprint) {
    write_bytes(dir / (name + "_000000.bin"), test::llmc_u16({1, 2, 3}));
    ShardInfo info{"bpe", 256, 3, 3, 1, {name + "_000000.bin"}};
    info.fingerprint = fingerprint;
    write_bytes(dir / (name + ".json"), to_json(info));
  };
  write_bytes(dir / "bare.bin", test::llmc_u16({3, 2, 1}));
  describe("a", std::string(32, 'a'));
  const TokenSet partly({dir / "*.bin"}, 256, 1);
  EXPECT_EQ(partly.tokenizer(), "");
  EXPECT_EQ(partly.tokenizer_of_some(), "bpe");
  EXPECT_EQ(partly.fingerprint_of_some(), std::string(32, 'a'));
  describe("b", "");
  EXPECT_EQ(TokenSet({dir / "*.bin"}, 256, 1).fingerprint_of_some(), std::string(32, 'a'));
  describe("c", std::string(32, 'c'));
  EXPECT_DATA_ERROR(TokenSet({dir / "*.bin"}, 256, 1), "one tokenizer");
}

TEST(TokenSet, BrokenMetadataIsRefused) {
  OwnFolder dir;
  write_bytes(dir / "t_000000.bin", test::llmc_u16({1, 2, 3}));
  for (const std::string& text :
       {std::string(), std::string("{"), std::string("[1]"), std::string(R"({"tokenizer": 3})"),
        info_json("bytes", 0, 5), info_json("bytes", 5, -1)}) {
    write_bytes(dir / "t.json", text);
    EXPECT_DATA_ERROR(TokenSet({dir / "t*.bin"}, 50, 1), dir / "t.json");
  }
}

TEST(TokenSet, MetadataThatDoesNotDescribeTheShardsIsRefusedNamingBoth) {
  OwnFolder dir;
  const std::vector<std::string> both = {"t_000000.bin", "t_000001.bin"};
  write_bytes(dir / "t_000000.bin", test::llmc_u16({1, 2, 30}));
  write_bytes(dir / "t_000001.bin", test::llmc_u16({4, 5}));
  const auto refused = [&](const std::string& info, const std::string& pattern, const std::string& part) {
    write_bytes(dir / "t.json", info);
    EXPECT_DATA_ERROR(TokenSet({dir / pattern}, 256, 1), part);
    EXPECT_DATA_ERROR(TokenSet({dir / pattern}, 256, 1), dir / "t.json");
  };
  refused(info_json("bytes", 1, 1, both), "t_*.bin",
          "says 1 tokens, but its 2 shards (" + dir / "t_000000.bin");
  refused(info_json("bytes", 6, 6, both), "t_*.bin", "says 6 tokens");
  refused(info_json("bytes", 4, 4, both), "t_000000.bin", "have 5");  // the other is looked at, too
  refused(info_json("bytes", 3, 3), "t_*.bin", "does not list " + dir / "t_000001.bin");
  refused(to_json(ShardInfo{"bytes", 30, 5, 5, 1, both}), "t_*.bin", "contains the token 30");
  write_bytes(dir / "t.json", info_json("bytes", 5, 5, both));
  EXPECT_EQ(TokenSet({dir / "t_*.bin"}, 256, 1).tokenizer(), "bytes");
  std::filesystem::remove(dir / "t_000001.bin");  // kept elsewhere, maybe for validation
  EXPECT_EQ(TokenSet({dir / "t_*.bin"}, 256, 1).tokenizer(), "bytes");
  refused(info_json("bytes", 2, 2, both), "t_*.bin", "says 2 tokens");
}

TEST(OpenFiles, CloseWhatWasUsedLeastAndNoticeAnotherFile) {
  OwnFolder dir;
  OpenFiles files(2);
  for (const char* name : {"a", "b", "c"}) {
    write_bytes(dir / name, name);
    files.add(File(dir / name, O_RDONLY));
  }
  const auto text = [&](size_t number) {
    char byte = 0;
    files.open(number)->pread_all(std::as_writable_bytes(std::span(&byte, 1)), 0);
    return byte;
  };
  const auto is_open = [&](const char* name) {
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
      std::error_code closed;
      if (std::filesystem::read_symlink(entry, closed) == dir / name) return true;
    }
    return false;
  };
  EXPECT_FALSE(is_open("a"));
  EXPECT_EQ(text(1), 'b');
  EXPECT_EQ(text(0), 'a');
  EXPECT_TRUE(is_open("a") && is_open("b") && !is_open("c"));
  for (int i = 0; i < 9; ++i) EXPECT_EQ(text(size_t(i % 3)), 'a' + i % 3);
  EXPECT_TRUE(!is_open("a"));
  write_bytes(dir / "new", "z");
  std::filesystem::rename(dir / "new", dir / "a");
  EXPECT_ERROR(text(0), IoError, dir / "a");
  write_bytes(dir / "c", "longer");
  EXPECT_EQ(text(1), 'b');
  EXPECT_EQ(text(2), 'l');  // the same file, open all the time
}

TEST(TokenSet, ReadsMoreShardsThanMayBeOpen) {
  OwnFolder dir;
  rlimit before = {};
  ::getrlimit(RLIMIT_NOFILE, &before);
  rlimit few = before;
  few.rlim_cur = 64;
  ::setrlimit(RLIMIT_NOFILE, &few);
  for (uint16_t i = 0; i < 200; ++i)
    write_bytes(dir / ("s_" + std::to_string(1000 + i) + ".bin"), test::llmc_u16({i, uint16_t(i + 1)}));
  {
    const TokenSet set({dir / "s_*.bin"}, 300, 1);
    for (int64_t i = 0; i < 400; ++i) EXPECT_EQ(sample_of(set, i * 7 % 200).inputs[0], i * 7 % 200);
  }
  ::setrlimit(RLIMIT_NOFILE, &before);
}

TEST(ShardInfo, DescribesOnlyNumberedShards) {
  EXPECT_EQ(info_path_of("/d/fine_web_000012.bin"), "/d/fine_web.json");
  EXPECT_EQ(info_path_of("/d/t_1000000.bin"), "/d/t.json");
  for (const char* path : {"/d/a.bin", "/d/a_00001.bin", "/d/a000001.bin", "/d/a_000001.idx", "000001.bin"}) {
    EXPECT_EQ(info_path_of(path), "") << path;
  }
}

TEST(Sampler, WithoutShuffleWalksTheSamplesAgainAndAgain) {
  const Sampler order(3, false, 1);
  for (int64_t i = 0; i < 9; ++i) EXPECT_EQ(order(uint64_t(i)), i % 3);
}

TEST(Sampler, EveryEpochIsAnotherPermutationAndEverySeedAnother) {
  constexpr int64_t kSamples = 1000;
  const Sampler order(kSamples, true, 1), other(kSamples, true, 2);
  std::vector<std::vector<int64_t>> epochs;
  for (uint64_t epoch = 0; epoch < 3; ++epoch) {
    for (const Sampler* sampler : {&order, &other}) {
      std::vector<int64_t>& places = epochs.emplace_back();
      for (int64_t i = 0; i < kSamples; ++i) places.push_back((*sampler)(epoch * kSamples + uint64_t(i)));
      std::vector<int64_t> sorted = places;
      std::sort(sorted.begin(), sorted.end());
      EXPECT_EQ(sorted, test::counting<int64_t>(kSamples));
    }
  }
  std::sort(epochs.begin(), epochs.end());
  EXPECT_EQ(std::adjacent_find(epochs.begin(), epochs.end()), epochs.end());
}

TEST(BatchLoader, StreamIsTheSameForEveryBatchSizeAndStart) {
  OwnFolder dir;
  write_bytes(dir / "a.bin", test::llmc_u16(test::counting<uint16_t>(101)));
  write_bytes(dir / "b.bin", test::llmc_u16(test::counting<uint16_t>(60)));
  const TokenSet set({dir / "*.bin"}, 1000, 4);
  const int64_t n = 2 * set.n_samples() + 5, T = 4;
  const BatchLoader loader(set, true, 7);
  TokenBuffer whole(n, T);
  loader.load(0, whole);
  const auto [inputs, targets, unused] = whole.batch();
  for (const int64_t B : {1, 3, 8}) {
    const BatchLoader again(set, true, 7);
    for (int64_t first = n - B; first >= 0; first -= B) {  // backwards: nothing is carried over
      TokenBuffer part(B, T);
      again.load(uint64_t(first), part);
      const TokenBatch read = part.batch();
      EXPECT_TRUE(std::equal(read.inputs.data, read.inputs.data + B * T, inputs[first]));
      EXPECT_TRUE(std::equal(read.targets.data, read.targets.data + B * T, targets[first]));
    }
  }
}

}  // namespace
}  // namespace saslm
