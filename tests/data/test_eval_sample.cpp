#include <algorithm>
#include <numeric>
#include <set>

#include "data/eval_sample.h"
#include "tests/data/support.h"

namespace saslm {
namespace {

using test::OwnFolder;
using test::write_bytes;

using Keys = std::vector<std::array<uint64_t, 2>>;

Keys some_keys(size_t n) {
  Keys keys;
  for (size_t i = 0; i < n; ++i) keys.push_back({i, 0});
  return keys;
}

// Shards of one-token samples, no two with a token in common.
class Folder {
 public:
  std::string shard(const std::string& name, int first, int samples) const {
    std::vector<uint16_t> tokens(size_t(samples) + 1);
    std::iota(tokens.begin(), tokens.end(), uint16_t(first));
    write_bytes(dir_ / name, test::llmc_u16(tokens));
    return dir_ / name;
  }
  std::string path(const std::string& name) const { return dir_ / name; }

 private:
  OwnFolder dir_;
};

constexpr int64_t kVocab = 65536;

// The first token of every sample read, in the order of reading, set by set.
std::vector<std::vector<int32_t>> read_by(const std::vector<std::string>& patterns, int64_t most) {
  const TokenSet tokens(patterns, kVocab, 1);
  std::vector<std::vector<int32_t>> read;
  for (const EvalSample::Set& set : make_eval_sample(tokens, most).sets) {
    read.emplace_back();
    for (const int64_t sample : set.samples) {
      int32_t input = 0, target = 0;
      tokens.read(sample, {{&input, 1}, {&target, 1}});
      read.back().push_back(input);
    }
  }
  return read;
}

int64_t count_in(const std::vector<int32_t>& tokens, int first, int samples) {
  return std::count_if(tokens.begin(), tokens.end(),
                       [&](int t) { return t >= first && t < first + samples; });
}

TEST(Apportion, GoesBySizeAndTheLargestRemainders) {
  EXPECT_EQ(apportion(10, {50, 30, 20}, some_keys(3)), (std::vector<int64_t>{5, 3, 2}));
  EXPECT_EQ(apportion(10, {55, 27, 18}, some_keys(3)), (std::vector<int64_t>{5, 3, 2}));  // 5.5 2.7 1.8
  EXPECT_EQ(apportion(3, {10, 10}, some_keys(2)), (std::vector<int64_t>{2, 1}));          // a tie: by key
  EXPECT_EQ(apportion(3, {10, 10}, {{1, 0}, {0, 0}}), (std::vector<int64_t>{1, 2}));
}

TEST(Apportion, TheSmallestGetsOneWhileThereAreEnough) {
  EXPECT_EQ(apportion(10, {100'000, 1, 0, 1}, some_keys(4)), (std::vector<int64_t>{8, 1, 0, 1}));
  EXPECT_EQ(apportion(3, {100'000, 1, 1}, some_keys(3)), (std::vector<int64_t>{1, 1, 1}));
  EXPECT_EQ(apportion(2, {100'000, 1, 1}, some_keys(3)), (std::vector<int64_t>{2, 0, 0}));
}

TEST(Apportion, GivesAllThatIsAskedForAndNoMoreThanThereIs) {
  for (const int64_t total : {0, 1, 2, 7, 99, 1234, 9999}) {
    std::vector<int64_t> sizes;
    for (int64_t i = 0; i < 100; ++i) sizes.push_back(i * i % 97);
    const auto given = apportion(total, sizes, some_keys(sizes.size()));
    const int64_t there = std::accumulate(sizes.begin(), sizes.end(), int64_t(0));
    EXPECT_EQ(std::accumulate(given.begin(), given.end(), int64_t(0)), std::min(total, there));
    for (size_t i = 0; i < sizes.size(); ++i) {
      EXPECT_GE(given[i], 0);
      EXPECT_LE(given[i], sizes[i]);
    }
  }
}

TEST(EvalSample, ReadsEverySetAndEveryPartOfAShard) {
  const Folder dir;
  dir.shard("a.bin", 0, 9000);
  dir.shard("b.bin", 20'000, 1000);
  const auto read = read_by({dir.path("a.bin"), dir.path("b.bin")}, 100);
  ASSERT_EQ(read.size(), 2u);
  EXPECT_EQ(read[0].size(), 90u);
  EXPECT_EQ(read[1].size(), 10u);
  for (int tenth = 0; tenth < 10; ++tenth) {
    EXPECT_EQ(count_in(read[0], tenth * 900, 900), 9) << tenth;
    EXPECT_EQ(count_in(read[1], 20'000 + tenth * 100, 100), 1) << tenth;
  }
}

TEST(EvalSample, PlacesWithinTheStretchesAreDrawn) {
  const Folder dir;
  dir.shard("a.bin", 0, 60'000);
  const auto read = read_by({dir.path("a.bin")}, 600)[0];
  std::set<int> offsets;
  double mean = 0;
  for (const int32_t token : read) offsets.insert(token % 100), mean += token % 100 / 600.0;
  EXPECT_GT(offsets.size(), 60u);  // of 100
  EXPECT_NEAR(mean, 49.5, 5);      // 29 / sqrt(600) is 1.2
}

TEST(EvalSample, IsTheSameWhateverTheOrderOfFilesOrTheirNames) {
  const Folder dir;
  const std::string a = dir.shard("a.bin", 0, 700), b = dir.shard("b.bin", 10'000, 300),
                    c = dir.shard("c.bin", 20'000, 50);
  const auto print = [](const std::vector<std::string>& patterns, int64_t most) {
    return make_eval_sample(TokenSet(patterns, kVocab, 1), most).fingerprint;
  };
  for (const int64_t most : {0, 2, 20, 100}) {
    const auto abc = read_by({a, b, c}, most), cba = read_by({c, b, a}, most);
    EXPECT_EQ(abc, (std::vector<std::vector<int32_t>>{cba[2], cba[1], cba[0]})) << most;
    EXPECT_EQ(print({a, b, c}, most), print({c, b, a}, most));
  }
  EXPECT_NE(print({a, b, c}, 20), print({a, b, c}, 21));
  // One pattern for all of them: in the same order, too, so that sums have the same bits.
  const auto one = read_by({dir.path("*.bin")}, 100)[0];
  const std::string z = dir.path("z.bin");
  std::filesystem::rename(a, z);
  EXPECT_EQ(read_by({dir.path("*.bin")}, 100)[0], one);
}

TEST(EvalSample, WithFewerThanShardsEverySetStillGivesOne) {
  const Folder dir;
  for (int i = 0; i < 8; ++i) dir.shard("many_" + std::to_string(i) + ".bin", 1000 * i, 500);
  dir.shard("small.bin", 30'000, 2);
  const auto read = read_by({dir.path("many_*.bin"), dir.path("small.bin")}, 5);
  EXPECT_EQ(read[0].size(), 4u);
  EXPECT_EQ(read[1].size(), 1u);
  EXPECT_EQ(read_by({dir.path("small.bin"), dir.path("many_*.bin")}, 5)[0], read[1]);
}

TEST(EvalSample, SaysHowMuchOfWhatIsRead) {
  const Folder dir;
  dir.shard("a.bin", 0, 12'345);
  const TokenSet tokens({dir.path("a.bin")}, kVocab, 1);
  EXPECT_EQ(make_eval_sample(tokens, 1000).description(), "reads 1,000 of 12,345 sequences, spread evenly");
  for (const int64_t most : {0, 12'345, 20'000})
    EXPECT_EQ(make_eval_sample(tokens, most).description(), "reads all 12,345 sequences");
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1'234'567), "1,234,567");
  EXPECT_EQ(grouped(-1000), "-1,000");
  EXPECT_EQ(grouped(-100), "-100");
}

TEST(EvalSample, AllIsEachOnce) {
  const Folder dir;
  dir.shard("a.bin", 0, 300);
  std::vector<int32_t> all(300);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(read_by({dir.path("a.bin")}, 0)[0], all);
  EXPECT_EQ(read_by({dir.path("a.bin")}, 300)[0], all);
  auto most = read_by({dir.path("a.bin")}, 299)[0];
  EXPECT_EQ(std::set<int32_t>(most.begin(), most.end()).size(), 299u);
}

TEST(EvalSample, SamplesAreCountedByHeadersAsTheSetDoes) {
  const Folder dir;
  dir.shard("a.bin", 0, 300);
  dir.shard("b.bin", 0, 7);
  for (const int64_t seq_len : {1, 3, 100})
    EXPECT_EQ(count_samples({dir.path("*.bin")}, seq_len),
              TokenSet({dir.path("*.bin")}, kVocab, seq_len).n_samples());
  EXPECT_DATA_ERROR(count_samples({dir.path("none")}, 1), "no file matches");
}

}  // namespace
}  // namespace saslm
