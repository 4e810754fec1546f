// Ranks that share the reading of their data: who reads what, and that nothing wrong passes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <limits>
#include <thread>

#include "tests/own_folder.h"
#include "tests/train/thread_ranks.h"
#include "train/shared_scan.h"

namespace saslm {
namespace {

constexpr int64_t kVocab = 1000, kTokens = 200'000;  // of a shard, of two bytes
constexpr int kShards = 5;

void write_shard(const std::filesystem::path& path, int shard, int64_t changed_at = -1, uint16_t to = 0) {
  std::vector<uint16_t> tokens(kTokens);
  for (int64_t i = 0; i < kTokens; ++i) tokens[size_t(i)] = uint16_t((i * 7 + shard) % kVocab);
  if (changed_at >= 0) tokens[size_t(changed_at)] = to;
  std::vector<int32_t> header(256);
  header[0] = 20240520, header[1] = 1, header[2] = int32_t(kTokens);
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(header.data()), 1024);
  out.write(reinterpret_cast<const char*>(tokens.data()), kTokens * 2);
}
// A folder of them, and the pattern of all.
std::string shards_in(const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  for (int s = 0; s < kShards; ++s) write_shard(folder / ("s_" + std::to_string(s) + ".bin"), s);
  return folder / "s_*.bin";
}

int64_t bytes_read() {  // by this process
  std::ifstream io("/proc/self/io");
  int64_t bytes = 0;
  for (std::string key; io >> key >> bytes;)
    if (key == "rchar:") return bytes;
  return -1;
}

struct Opened {
  std::vector<std::string> fingerprints;  // of every rank's set
  std::vector<std::vector<ShardPart>> shards;
  double reads = 0;  // of all ranks together, in times one set's bytes
};
Opened open_all(const std::vector<std::string>& patterns) {
  Opened opened{.fingerprints = std::vector<std::string>(patterns.size()),
                .shards = std::vector<std::vector<ShardPart>>(patterns.size())};
  const int64_t before = bytes_read();
  ThreadRanks(int(patterns.size()), cpu_ops<float>()).run([&](const Communicator& comm) {
    const size_t rank = size_t(comm.rank());
    const TokenSet set({patterns[rank]}, kVocab, 64, std::numeric_limits<int64_t>::max(), scan_among(comm));
    opened.fingerprints[rank] = set.fingerprint();
    opened.shards[rank] = set.shards();
  });
  opened.reads = double(bytes_read() - before) / double(kShards * kTokens * 2);
  return opened;
}

TEST(SharedScan, RanksOfTheSameFilesReadThemOnceTogether) {
  if (bytes_read() < 0) GTEST_SKIP() << "SKIPPED: no /proc/self/io";
  const test::OwnFolder folder;
  const std::string here = shards_in(folder / "here");
  const TokenSet alone({here}, kVocab, 64);
  for (const size_t ranks : {1, 2, 3, 8}) {  // as many as shards and more, and neither
    const Opened opened = open_all(std::vector<std::string>(ranks, here));
    EXPECT_NEAR(opened.reads, 1, 0.1) << ranks << " ranks";
    for (size_t rank = 0; rank < ranks; ++rank) {
      EXPECT_EQ(opened.fingerprints[rank], alone.fingerprint());
      ASSERT_EQ(opened.shards[rank].size(), alone.shards().size());
      for (size_t s = 0; s < alone.shards().size(); ++s) {
        EXPECT_EQ(opened.shards[rank][s].content, alone.shards()[s].content);
        EXPECT_EQ(opened.shards[rank][s].max_token, alone.shards()[s].max_token);
      }
    }
  }
}

TEST(SharedScan, CopiesAreReadByWhoeverHasThem) {
  if (bytes_read() < 0) GTEST_SKIP() << "SKIPPED: no /proc/self/io";
  const test::OwnFolder folder;
  const std::string here = shards_in(folder / "here"), copy = shards_in(folder / "copy");
  const Opened opened = open_all({here, copy, here, here});
  EXPECT_NEAR(opened.reads, 2, 0.1);
  EXPECT_EQ(opened.fingerprints, std::vector<std::string>(4, opened.fingerprints[0]));
}

// One token of a copy of the same size, in the middle of a shard; and links to the first rank's other shards.
TEST(SharedScan, ARankWhoseShardDiffersFindsIt) {
  const test::OwnFolder folder;
  const std::string here = shards_in(folder / "here");
  std::filesystem::create_directories(folder / "other");
  for (int s = 0; s < kShards; ++s) {
    const std::string name = "s_" + std::to_string(s) + ".bin";
    if (s == 3)
      write_shard(folder / ("other/" + name), s, kTokens / 2, 1);
    else
      std::filesystem::create_hard_link(folder / ("here/" + name), folder / ("other/" + name));
  }
  const Opened opened = open_all({here, folder / "other/s_*.bin", here});
  EXPECT_NE(opened.fingerprints[1], opened.fingerprints[0]);
  EXPECT_EQ(opened.fingerprints[2], opened.fingerprints[0]);
  EXPECT_NE(opened.shards[1][3].content, opened.shards[0][3].content);
  EXPECT_EQ(opened.shards[1][2].content, opened.shards[0][2].content);
}

// Whoever reads it.
TEST(SharedScan, ATokenOutsideTheVocabularyEndsEveryRankWithItsPlace) {
  const test::OwnFolder folder;
  const std::string here = shards_in(folder / "here");
  write_shard(folder / "here/s_1.bin", 1, 12345, uint16_t(kVocab));
  std::vector<std::string> errors(3);
  ThreadRanks(3, cpu_ops<float>()).run([&](const Communicator& comm) {
    try {
      const TokenSet set({here}, kVocab, 64, std::numeric_limits<int64_t>::max(), scan_among(comm));
    } catch (const DataError& error) {
      errors[size_t(comm.rank())] = error.what();
    }
  });
  for (const std::string& error : errors)
    EXPECT_THAT(error, testing::HasSubstr("s_1.bin: token 1000 at offset 12345"));
}

// Ranks of which one has a set fewer still speak in turn: what they then compare says so.
TEST(SharedScan, AnAbsentSetIsNothingToRead) {
  const test::OwnFolder folder;
  const std::string here = shards_in(folder / "here");
  ThreadRanks(2, cpu_ops<float>()).run([&](const Communicator& comm) {
    if (comm.first())
      EXPECT_TRUE(scan_among(comm)({}, kVocab).empty());
    else
      EXPECT_GT(
          TokenSet({here}, kVocab, 64, std::numeric_limits<int64_t>::max(), scan_among(comm)).n_samples(), 0);
  });
}

TEST(SharedScan, AFileThatWasWrittenToIsAnother) {
  const test::OwnFolder folder;
  const std::filesystem::path path = folder / "s.bin";
  write_shard(path, 0);
  const std::string before = ShardFile(path).same_text();
  EXPECT_EQ(ShardFile(path).same_text(), before);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // clocks of file systems tick every few
  std::fstream(path, std::ios::in | std::ios::out | std::ios::binary).seekp(5000).put('x');
  EXPECT_NE(ShardFile(path).same_text(), before);
}

}  // namespace
}  // namespace saslm
