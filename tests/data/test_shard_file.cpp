#include <fcntl.h>
#include <sys/stat.h>

#include <random>

#include "data/shard_file.h"
#include "data/shard_writer.h"
#include "tests/data/support.h"

namespace saslm {
namespace {

using test::OwnFolder;
using test::write_bytes;

std::vector<int32_t> all_tokens(const ShardFile& shard) {
  std::vector<int32_t> tokens(size_t(shard.n_tokens()));
  shard.read(0, shard.n_tokens(), tokens.data());
  return tokens;
}

void write_megatron(const OwnFolder& dir, const std::string& idx, const std::string& bin) {
  write_bytes(dir / "m.idx", idx);
  write_bytes(dir / "m.bin", bin);
}

TEST(ShardFile, ReadsBothLlmcFormats) {
  OwnFolder dir;
  write_bytes(dir / "a.bin", test::llmc_u16({7, 65535, 0}));
  write_bytes(dir / "b.bin", test::llmc_u32({7, 128255, 0}));
  const ShardFile a(dir / "a.bin"), b(dir / "b.bin");
  EXPECT_EQ(a.format(), ShardFormat::llmc_u16);
  EXPECT_EQ(b.format(), ShardFormat::llmc_u32);
  EXPECT_EQ(all_tokens(a), (std::vector<int32_t>{7, 65535, 0}));
  EXPECT_EQ(all_tokens(b), (std::vector<int32_t>{7, 128255, 0}));
}

template <class Raw>
void expect_megatron(uint8_t code, const std::vector<Raw>& stored) {
  OwnFolder dir;
  write_megatron(dir, test::megatron_idx(code, {2, 0, 1}, {0, 2 * sizeof(Raw), 2 * sizeof(Raw)}),
                 test::bytes_of(stored));
  for (const char* name : {"m.bin", "m.idx"}) {
    const ShardFile shard(dir / name);
    EXPECT_EQ(shard.format(), ShardFormat::megatron);
    EXPECT_EQ(all_tokens(shard), std::vector<int32_t>(stored.begin(), stored.end()));
  }
}

TEST(ShardFile, ReadsMegatronOfEveryTokenType) {
  expect_megatron<uint8_t>(1, {1, 255, 3});
  expect_megatron<int32_t>(4, {1, 70000, 3});
  expect_megatron<int64_t>(5, {1, 70000, 3});
  expect_megatron<uint16_t>(8, {1, 65535, 3});
}

TEST(ShardFile, MegatronSequencesComeInIndexOrder) {
  OwnFolder dir;
  write_megatron(dir, test::megatron_idx(8, {3, 2}, {4, 0}), test::bytes_of<uint16_t>({10, 11, 20, 21, 22}));
  const ShardFile shard(dir / "m.bin");
  EXPECT_EQ(all_tokens(shard), (std::vector<int32_t>{20, 21, 22, 10, 11}));
  std::vector<int32_t> middle(2);
  shard.read(2, 2, middle.data());
  EXPECT_EQ(middle, (std::vector<int32_t>{22, 10}));
}

TEST(ShardFile, LargeMegatronIndexIsReadInPieces) {
  OwnFolder dir;
  constexpr int64_t kSequences = 20000;  // more than one piece
  std::vector<int64_t> first_bytes(kSequences);
  for (int64_t i = 0; i < kSequences; ++i) first_bytes[size_t(i)] = (kSequences - 1 - i) * 4;
  write_megatron(dir, test::megatron_idx(4, std::vector<int32_t>(kSequences, 1), first_bytes),
                 test::bytes_of(test::counting<int32_t>(kSequences)));
  std::vector<int32_t> reversed = test::counting<int32_t>(kSequences);
  std::reverse(reversed.begin(), reversed.end());
  EXPECT_EQ(all_tokens(ShardFile(dir / "m.bin")), reversed);
}

TEST(ShardFile, DamagedMegatronIndexIsRefused) {
  const std::string bin = test::bytes_of<uint16_t>({1, 2, 3});
  const auto expect = [&](const std::string& idx, const std::string& message) {
    OwnFolder dir;
    write_megatron(dir, idx, bin);
    EXPECT_DATA_ERROR(ShardFile(dir / "m.bin"), message);
  };
  expect(test::megatron_idx(8, {2}, {0}), "too long");
  expect(test::megatron_idx(8, {2, 2}, {0, 2}), "cut short");
  expect(test::megatron_idx(8, {2, 1}, {0, 2}), "overlap at byte 2");
  expect(test::megatron_idx(8, {2, 1}, {2, 4}), "gap at byte 0");
  expect(test::megatron_idx(8, {4}, {0}), "outside");
  expect(test::megatron_idx(8, {-1, 4}, {0, 0}), "sequence 0");
  expect(test::megatron_idx(8, {3}, {INT64_MAX}), "outside");
  expect(test::megatron_idx(3, {3}, {0}), "type code 3");
  expect("", "MMIDIDX");
  expect(test::megatron_idx(8, {3}, {0}) + "x", "too long");
  std::string huge = test::megatron_idx(8, {3}, {0});
  huge[25] = '\xff';  // the top byte of the number of sequences
  expect(huge, "cannot fit");
}

TEST(ShardFile, MegatronWithoutItsOtherHalfIsRefused) {
  OwnFolder dir;
  write_bytes(dir / "m.idx", test::megatron_idx(8, {3}, {0}));
  EXPECT_DATA_ERROR(ShardFile(dir / "m.idx"), "m.bin: cannot be opened");
}

TEST(ShardFile, SizeOtherThanTheHeadersClaimIsRefused) {
  OwnFolder dir;
  const std::string whole = test::llmc_u16({1, 2, 3});
  for (size_t size = 0; size < whole.size(); ++size) {
    write_bytes(dir / "s.bin", whole.substr(0, size));
    EXPECT_DATA_ERROR(ShardFile(dir / "s.bin"), dir / "s.bin");
  }
  write_bytes(dir / "s.bin", whole + "x");
  EXPECT_DATA_ERROR(ShardFile(dir / "s.bin"), "1030 bytes, but the file has 1031");
}

TEST(ShardFile, LyingHeadersAreRefused) {
  OwnFolder dir;
  const auto expect = [&](int32_t magic, int32_t version, int32_t n_tokens, const std::string& message) {
    write_bytes(dir / "s.bin", test::llmc_header(magic, version, n_tokens) + "abcd");
    EXPECT_DATA_ERROR(ShardFile(dir / "s.bin"), message);
  };
  expect(20240520, 1, -1, "the header claims n_tokens -1;");
  expect(20240520, 1, INT32_MIN, "overflowed");
  expect(20240520, 1, INT32_MAX, "cut short");
  expect(20240801, 7, 2, "cut short");
  expect(20240521, 1, 2, "magic 20240521");
  expect(20240520, 2, 2, "version 2");
  expect(20240520, 7, 2, "version 7");
}

TEST(ShardFile, PathsThatAreNoFileAreRefused) {
  OwnFolder dir;
  EXPECT_DATA_ERROR(ShardFile(dir.path()), "not a regular file");
  EXPECT_DATA_ERROR(ShardFile(dir / "absent.bin"), "absent.bin");
  ASSERT_EQ(::mkfifo((dir / "pipe").c_str(), 0600), 0);
  EXPECT_DATA_ERROR(ShardFile(dir / "pipe"), "not a regular file");  // and does not hang
}

TEST(ShardFile, ForbiddenFileIsRefused) {
  if (::geteuid() == 0) GTEST_SKIP() << "permissions do not bind root";
  OwnFolder dir;
  write_bytes(dir / "s.bin", test::llmc_u16({1}));
  ::chmod((dir / "s.bin").c_str(), 0);
  EXPECT_DATA_ERROR(ShardFile(dir / "s.bin"), "Permission denied");
}

TEST(ShardFile, TokensPastTwoGibibytesAreReadFromTheirPlace) {
  OwnFolder dir;
  write_bytes(dir / "s.bin", test::llmc_header(20240520, 1, INT32_MAX));
  const int64_t size = 1024 + 2 * int64_t(INT32_MAX);
  const std::string last = test::bytes_of<uint16_t>({41, 42});
  const int fd = ::open((dir / "s.bin").c_str(), O_WRONLY);
  ASSERT_EQ(::pwrite(fd, last.data(), 4, size - 4), 4);
  ::close(fd);
  std::vector<int32_t> tokens(3);
  ShardFile(dir / "s.bin").read(int64_t(INT32_MAX) - 3, 3, tokens.data());
  EXPECT_EQ(tokens, (std::vector<int32_t>{0, 41, 42}));
}

TEST(ShardFile, MegatronTokensPastTwoToThe31AreReadFromTheirPlace) {
  OwnFolder dir;
  const int64_t half = 2'000'000'000, size = 2 * half * 4;  // 16 GB of hole
  write_megatron(dir, test::megatron_idx(4, {int32_t(half), int32_t(half)}, {0, half * 4}), "");
  ASSERT_EQ(::truncate((dir / "m.bin").c_str(), size), 0);
  const std::string last = test::bytes_of<int32_t>({41, 42});
  const int fd = ::open((dir / "m.bin").c_str(), O_WRONLY);
  ASSERT_EQ(::pwrite(fd, last.data(), 8, size - 8), 8);
  ::close(fd);
  const ShardFile shard(dir / "m.bin");
  EXPECT_EQ(shard.n_tokens(), 2 * half);
  std::vector<int32_t> tokens(3);
  shard.read(2 * half - 3, 3, tokens.data());
  EXPECT_EQ(tokens, (std::vector<int32_t>{0, 41, 42}));
}

TEST(ShardFile, ScanFindsExtremesAndTheFirstBadToken) {
  OwnFolder dir;
  std::vector<uint16_t> tokens(500'000, 5);  // several chunks
  tokens[300'001] = 900, tokens[300'002] = 1000, tokens[7] = 2;
  write_bytes(dir / "s.bin", test::llmc_u16(tokens));
  const ShardFile shard(dir / "s.bin");
  const ShardScan bad = shard.scan(900), good = shard.scan(1001);
  EXPECT_EQ(good.min_token, 2);
  EXPECT_EQ(good.max_token, 1000);
  EXPECT_FALSE(good.bad_offset);
  EXPECT_EQ(bad.bad_offset, 300'001);
  EXPECT_EQ(bad.bad_token, 900);
  EXPECT_EQ(bad.max_token, 1000);
  EXPECT_EQ(bad.hash, good.hash);
}

// Ranks that wait for a scan hear of it while it goes on.
TEST(ShardFile, ScanPausesOnItsWayAndFindsTheSame) {
  OwnFolder dir;
  write_bytes(dir / "a.bin", test::llmc_u16(test::counting<uint16_t>(1'000'000)));
  const ShardFile shard(dir / "a.bin");
  int pauses = 0;
  const ShardScan paused = shard.scan(
                      1 << 16, [&] { ++pauses; }, 300'000),
                  whole = shard.scan(1 << 16);
  EXPECT_EQ(pauses, 3);
  EXPECT_EQ(paused.hash, whole.hash);
  EXPECT_EQ(paused.max_token, whole.max_token);
  shard.scan(1 << 16, [&] { ++pauses; });
  EXPECT_EQ(pauses, 3) << "a small shard has none";
}

TEST(ShardFile, TokensThatFitNoInt32AreNamedByScanAndReadAsMinusOne) {
  OwnFolder dir;
  write_megatron(dir, test::megatron_idx(5, {3}, {0}),
                 test::bytes_of<int64_t>({1, (int64_t(1) << 32) + 1, -5}));
  const ShardFile shard(dir / "m.bin");
  EXPECT_EQ(all_tokens(shard), (std::vector<int32_t>{1, -1, -1}));
  const ShardScan scan = shard.scan(100);
  EXPECT_EQ(scan.bad_offset, 1);
  EXPECT_EQ(scan.bad_token, (int64_t(1) << 32) + 1);
  EXPECT_EQ(scan.min_token, -5);
}

// Every value of every header byte: the file is refused, or means what it meant.
void mutate(const std::string& mutated_path, const std::string& shard_path, size_t n_bytes) {
  const std::string original = test::read_bytes(mutated_path);
  const std::vector<int32_t> tokens = all_tokens(ShardFile(shard_path));
  const int fd = ::open(mutated_path.c_str(), O_WRONLY);
  int64_t refused = 0;
  for (size_t at = 0; at < n_bytes; ++at) {
    for (int flip = 1; flip < 256; ++flip) {
      const char byte = char(original[at] ^ flip);
      ASSERT_EQ(::pwrite(fd, &byte, 1, off_t(at)), 1);
      try {
        ASSERT_EQ(all_tokens(ShardFile(shard_path)), tokens) << "byte " << at << " flipped by " << flip;
      } catch (const DataError&) {
        ++refused;
      }
    }
    ASSERT_EQ(::pwrite(fd, &original[at], 1, off_t(at)), 1);
  }
  ::close(fd);
  EXPECT_GT(refused, 12 * 255 - 1);
}

TEST(ShardFile, NoHeaderByteCanBeChangedUnseen) {
  OwnFolder dir;
  write_bytes(dir / "a.bin", test::llmc_u16({1, 2, 3, 4}));
  mutate(dir / "a.bin", dir / "a.bin", 64);
  write_bytes(dir / "b.bin", test::llmc_u32({1, 2, 3, 4}));
  mutate(dir / "b.bin", dir / "b.bin", 64);
  const std::string idx = test::megatron_idx(8, {2, 1, 1}, {0, 4, 6});
  write_megatron(dir, idx, test::bytes_of<uint16_t>({1, 2, 3, 4}));
  mutate(dir / "m.idx", dir / "m.bin", idx.size());
}

TEST(DescribeShard, TellsWhatAShardIsOrWhatIsWrongWithIt) {
  OwnFolder dir;
  write_bytes(dir / "s.bin", test::llmc_u16({7, 9, 8}));
  const ShardDescription whole = describe_shard(dir / "s.bin");
  EXPECT_EQ(whole.format, ShardFormat::llmc_u16);
  EXPECT_EQ(whole.n_tokens, 3);
  EXPECT_EQ(whole.token_bytes, 2);
  EXPECT_EQ(whole.min_token, 7);
  EXPECT_EQ(whole.max_token, 9);
  EXPECT_EQ(whole.problem, "");

  std::filesystem::resize_file(dir / "s.bin", 1029);
  EXPECT_THAT(describe_shard(dir / "s.bin").problem, testing::HasSubstr("cut short"));
  write_bytes(dir / "s.bin", test::llmc_u32({1, 0xFFFFFFFF}));
  EXPECT_THAT(describe_shard(dir / "s.bin").problem, testing::HasSubstr("token 4294967295 at offset 1"));
}

TEST(ShardWriter, WritesExactlyTheDocumentedBytesAndRotates) {
  OwnFolder dir;
  ShardWriter narrow(dir.path(), "n", ShardFormat::llmc_u16, 3),
      wide(dir.path(), "w", ShardFormat::llmc_u32, 9);
  const std::vector<int32_t> tokens = {1, 2, 3, 4, 65535, 6, 7};
  narrow.append(tokens);
  for (const int32_t token : tokens) wide.append({&token, 1});
  EXPECT_EQ(narrow.finish(), (std::vector<std::string>{"n_000000.bin", "n_000001.bin", "n_000002.bin"}));
  EXPECT_EQ(wide.finish(), std::vector<std::string>{"w_000000.bin"});
  EXPECT_EQ(test::read_bytes(dir / "n_000000.bin"), test::llmc_u16({1, 2, 3}));
  EXPECT_EQ(test::read_bytes(dir / "n_000001.bin"), test::llmc_u16({4, 65535, 6}));
  EXPECT_EQ(test::read_bytes(dir / "n_000002.bin"), test::llmc_u16({7}));
  EXPECT_EQ(test::read_bytes(dir / "w_000000.bin"), test::llmc_u32({1, 2, 3, 4, 65535, 6, 7}));
}

TEST(ShardWriter, LongAppendsSurviveTheBuffer) {
  OwnFolder dir;
  ShardWriter writer(dir.path(), "s", ShardFormat::llmc_u16, 1'500'000);
  std::vector<int32_t> tokens(2'000'000);
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = int32_t(i * 7919 % 65521);
  writer.append(tokens);
  writer.finish();
  std::vector<int32_t> back = all_tokens(ShardFile(dir / "s_000000.bin"));
  const std::vector<int32_t> rest = all_tokens(ShardFile(dir / "s_000001.bin"));
  back.insert(back.end(), rest.begin(), rest.end());
  EXPECT_TRUE(back == tokens);
}

TEST(ShardWriter, NothingHasAFinalNameBeforeFinishAndNothingRemainsAfterDiscard) {
  OwnFolder dir;
  ShardWriter writer(dir.path(), "s", ShardFormat::llmc_u16, 2);
  writer.append(std::vector<int32_t>{1, 2, 3});
  for (const auto& entry : std::filesystem::directory_iterator(dir.path())) {
    EXPECT_EQ(entry.path().extension(), ".tmp");
  }
  EXPECT_FALSE(std::filesystem::is_empty(dir.path()));
  writer.discard();
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

TEST(ShardWriter, GoesOnFromAnySyncedToken) {
  const std::vector<int32_t> tokens = {1, 2, 3, 4, 5, 6, 7};
  for (size_t kept = 0; kept <= tokens.size(); ++kept) {
    for (size_t written = kept; written <= tokens.size(); ++written) {
      OwnFolder dir;
      ShardWriter killed(dir.path(), "s", ShardFormat::llmc_u16, 3);
      killed.append(std::span(tokens).first(kept));
      killed.sync();
      killed.append(
          std::span(tokens).subspan(kept, written - kept));  // never synced; some of it may be there
      ShardWriter writer(dir.path(), "s", ShardFormat::llmc_u16, 3);
      writer.resume(int64_t(kept));
      writer.append(std::span(tokens).subspan(kept));
      EXPECT_EQ(writer.finish(), (std::vector<std::string>{"s_000000.bin", "s_000001.bin", "s_000002.bin"}));
      EXPECT_EQ(test::read_bytes(dir / "s_000000.bin"), test::llmc_u16({1, 2, 3}));
      EXPECT_EQ(test::read_bytes(dir / "s_000001.bin"), test::llmc_u16({4, 5, 6}));
      EXPECT_EQ(test::read_bytes(dir / "s_000002.bin"), test::llmc_u16({7}));
      for (const auto& entry : std::filesystem::directory_iterator(dir.path()))
        EXPECT_EQ(entry.path().extension(), ".bin");
    }
  }
}

TEST(ShardWriter, WhatCannotBeGoneOnFromIsNamed) {
  OwnFolder dir;
  write_bytes(dir / "s_000000.bin.tmp", test::llmc_u16({1, 2, 3}));
  write_bytes(dir / "s_000001.bin.tmp", test::llmc_u16({4}));
  ShardWriter writer(dir.path(), "s", ShardFormat::llmc_u16, 3);
  EXPECT_DATA_ERROR(writer.resume(5), "s_000001.bin.tmp");
}

TEST(ShardWriter, RefusesWhatTheFormatCannotHold) {
  OwnFolder dir;
  EXPECT_DATA_ERROR(ShardWriter(dir.path(), "s", ShardFormat::llmc_u16, int64_t(1) << 31), "2147483647");
  ShardWriter writer(dir.path(), "s", ShardFormat::llmc_u16, 10);
  EXPECT_DATA_ERROR(writer.append(std::vector<int32_t>{65536}), "token 65536");
  EXPECT_DATA_ERROR(writer.append(std::vector<int32_t>{-1}), "token -1");
}

TEST(ShardWriter, OverwritesNothing) {
  OwnFolder dir;
  ShardWriter writer(dir.path(), "s", ShardFormat::llmc_u16, 10);
  writer.append(std::vector<int32_t>{1});
  write_bytes(dir / "s_000000.bin", "precious");
  EXPECT_DATA_ERROR(writer.finish(), "s_000000.bin");
  EXPECT_EQ(test::read_bytes(dir / "s_000000.bin"), "precious");
}

}  // namespace
}  // namespace saslm
