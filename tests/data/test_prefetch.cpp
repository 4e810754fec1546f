// What is read ahead is what would have been read.
#include <gtest/gtest.h>

#include <filesystem>
#include <numeric>

#include "core/error.h"
#include "data/prefetch.h"
#include "data/shard_writer.h"
#include "own_folder.h"

namespace saslm {
namespace {

constexpr int64_t kBatch = 3, kLength = 8;

std::string write_tokens(const std::string& dir) {
  std::vector<int32_t> tokens(1000);
  std::iota(tokens.begin(), tokens.end(), 0);
  ShardWriter writer(dir, "s", ShardFormat::llmc_u16, 1000);
  writer.append(tokens);
  return dir + "/" + writer.finish()[0];
}

TEST(BatchPrefetch, GivesWhatTheLoaderGivesWhateverWasAnnounced) {
  const test::OwnFolder folder;
  const TokenSet set({write_tokens(folder.path())}, 1000, kLength);
  const BatchLoader loader(set, true, 1);
  BatchPrefetch batches(loader, kBatch, kLength);
  TokenBuffer wanted(kBatch, kLength);
  const auto all = [](Mat<const int32_t> x) {
    return std::vector<int32_t>(x.data, x.data + x.rows * x.cols);
  };
  for (const auto& [first, next] :
       {std::pair<uint64_t, uint64_t>{0, 3}, {3, 6}, {6, 40}, {9, 12}, {12, 900}, {900, 12}, {12, 12}}) {
    const TokenBatch batch = batches.get(first, next);
    loader.load(first, wanted);
    ASSERT_EQ(batch.B(), kBatch);
    ASSERT_EQ(batch.T(), kLength);
    EXPECT_EQ(all(batch.inputs), all(wanted.batch().inputs)) << first;
    EXPECT_EQ(all(batch.targets), all(wanted.batch().targets)) << first;
  }
}

TEST(BatchPrefetch, AnErrorComesWithItsTextWhereTheBatchIsAskedFor) {
  const test::OwnFolder folder;
  const std::string path = write_tokens(folder.path());
  const TokenSet set({path}, 1000, kLength);
  const BatchLoader loader(set, false, 1);
  std::filesystem::resize_file(path, 1024 + 2 * 20);
  TokenBuffer one_sample(1, kLength), batch(kBatch, kLength);
  EXPECT_NO_THROW(loader.load(0, one_sample));
  std::string here, ahead;
  try {
    loader.load(60, batch);
  } catch (const IoError& e) {
    here = e.what();
  }
  try {
    BatchPrefetch one(loader, 1, kLength);
    one.get(0, 60);
    one.get(60, 61);
  } catch (const IoError& e) {
    ahead = e.what();
  }
  EXPECT_NE(here, "");
  EXPECT_EQ(ahead, here);
  EXPECT_THROW(BatchPrefetch(loader, kBatch, kLength).get(60, 0), IoError);
}

}  // namespace
}  // namespace saslm
