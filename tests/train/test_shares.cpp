#include <gtest/gtest.h>

#include "core/error.h"
#include "train/shares.h"

namespace saslm {
namespace {

constexpr int64_t B = Shares::kBlock;

TEST(Shares, HalvesAreCutBetweenBlocksAndTheLowerHasMore) {
  const Shares shares(5 * B + 64, 4, 8 * B);  // six blocks, the last of them short
  EXPECT_EQ(shares.buckets(), 1);
  EXPECT_EQ(shares.owned(0, 0), (Range{0, 2 * B}));
  EXPECT_EQ(shares.owned(0, 2), (Range{2 * B, B}));
  EXPECT_EQ(shares.owned(0, 1), (Range{3 * B, 2 * B}));
  EXPECT_EQ(shares.owned(0, 3), (Range{5 * B, 64}));
  const auto levels = shares.levels(0, 2);
  ASSERT_EQ(levels.size(), 2u);
  EXPECT_EQ(levels[0].partner, 3);
  EXPECT_EQ(levels[0].given, (Range{3 * B, 2 * B + 64}));
  EXPECT_EQ(levels[1].partner, 0);
  EXPECT_EQ(levels[1].given, (Range{0, 2 * B}));
}

TEST(Shares, EveryElementHasOneOwnerAndEveryBlockToo) {
  for (const int64_t elements : {int64_t(64), B, B + 64, 3 * B, 17 * B + 128, 40 * B})
    for (const int64_t ranks : {1, 2, 4, 8, 16})
      for (const int64_t bucket : {B, 3 * B, 16 * B}) {
        SCOPED_TRACE(testing::Message() << elements << " on " << ranks << " by " << bucket);
        const Shares shares(elements, ranks, bucket);
        std::vector<int> owners(size_t(elements / 64));
        for (int64_t rank = 0; rank < ranks; ++rank) {
          int64_t packed = 0;
          for (const Share& share : shares.of(rank)) {
            EXPECT_EQ(share.packed, packed);
            EXPECT_EQ(share.range.first % B, 0);
            EXPECT_TRUE(share.range.size % B == 0 || share.range.end() == elements);
            for (int64_t i = share.range.first; i < share.range.end(); i += 64) ++owners[size_t(i / 64)];
            packed += share.range.size;
          }
          EXPECT_LE(packed, shares.most());
        }
        EXPECT_EQ(owners, std::vector<int>(owners.size(), 1));
      }
}

TEST(Shares, PartnersKeepWhatTheOtherGives) {
  const Shares shares(37 * B, 8, 16 * B);
  for (int64_t bucket = 0; bucket < shares.buckets(); ++bucket)
    for (int64_t rank = 0; rank < 8; ++rank) {
      const auto mine = shares.levels(bucket, rank);
      for (size_t i = 0; i < mine.size(); ++i) {
        const auto theirs = shares.levels(bucket, mine[i].partner)[i];
        EXPECT_EQ(theirs.partner, rank);
        EXPECT_EQ(theirs.kept, mine[i].given);
        EXPECT_EQ(theirs.given, mine[i].kept);
      }
    }
}

TEST(Shares, ASingleRankHasOneShareOfEverything) {
  const Shares shares(40 * B + 64, 1, 8 * B);
  EXPECT_EQ(shares.of(0), (std::vector<Share>{{{0, 40 * B + 64}, 0}}));
  EXPECT_EQ(shares.most(), 40 * B + 64);
}

TEST(Shares, OfAPartIsWhatBothHave) {
  const Share share{{100, 50}, 1000};
  EXPECT_EQ(share.within({90, 20}), (Share{{100, 10}, 1000}));
  EXPECT_EQ(share.within({120, 200}), (Share{{120, 30}, 1020}));
  EXPECT_EQ(share.within({10, 20}).range.size, 0);
  EXPECT_EQ(share.within({150, 20}).range.size, 0);
}

// Of tensors of such sizes, in blocks, one after the other, every second is to be kept whole.
std::vector<Range> every_second(const std::vector<int64_t>& sizes, int64_t& elements) {
  std::vector<Range> whole;
  elements = 0;
  for (size_t i = 0; i < sizes.size(); ++i) {
    const Range tensor{elements, sizes[i] * B + 64 * int64_t(i)};
    if (i % 2 == 1) whole.push_back(tensor);
    elements = tensor.end();
  }
  return whole;
}

TEST(Shares, KeepTensorsWholeAndBlocksToo) {
  for (const std::vector<int64_t>& sizes :
       {std::vector<int64_t>{0, 1, 0, 2}, {3, 1, 1, 1}, {1, 40, 2, 3, 5, 7}, {9, 9, 9, 9, 9, 100, 1, 1}})
    for (const int64_t ranks : {1, 2, 4, 8})
      for (const int64_t bucket : {B, 4 * B, 16 * B})
        for (const bool keep : {false, true}) {
          SCOPED_TRACE(testing::Message() << ranks << " by " << bucket << (keep ? " kept" : ""));
          int64_t elements = 0;
          const std::vector<Range> whole = every_second(sizes, elements);
          const Shares shares(elements, ranks, bucket, whole, keep);
          std::vector<int64_t> owner(size_t(elements / 64), -1);
          std::vector<int> blocks(size_t(shares.blocks()));
          int64_t end = 0;
          for (int64_t b = 0; b < shares.buckets(); ++b) {
            EXPECT_EQ(shares.bucket(b).first, end);
            EXPECT_LE(shares.bucket(b).size, bucket);
            EXPECT_GT(shares.bucket(b).size, 0);
            end = shares.bucket(b).end();
          }
          EXPECT_EQ(end, elements);
          for (int64_t rank = 0; rank < ranks; ++rank)
            for (const Share& share : shares.of(rank)) {
              for (int64_t i = share.range.first; i < share.range.end(); i += 64) {
                EXPECT_EQ(owner[size_t(i / 64)], -1);
                owner[size_t(i / 64)] = rank;
              }
              for (const Range& run : shares.runs(share.range))
                for (int64_t i = 0; i * B < run.size; ++i)
                  ++blocks[size_t(shares.first_block(run.first) + i)];
            }
          EXPECT_EQ(blocks, std::vector<int>(blocks.size(), 1));
          EXPECT_EQ(std::count(owner.begin(), owner.end(), -1), 0);
          for (const Range& tensor : whole)
            for (int64_t i = tensor.first; keep && i < tensor.end(); i += 64)
              EXPECT_EQ(owner[size_t(i / 64)], owner[size_t(tensor.first / 64)]);
          EXPECT_EQ(Shares(elements, 1, bucket, whole, keep).blocks(), shares.blocks()) << "as on one rank";
        }
}

TEST(Shares, RanksTakeTurnsAtWholeTensors) {
  std::vector<Range> whole;
  for (int64_t i = 0; i < 24; ++i) whole.push_back({i * 10 * B, 10 * B});
  const Shares shares(240 * B, 8, 4 * B, whole, true);
  for (int64_t rank = 0; rank < 8; ++rank) EXPECT_EQ(size_of(shares.of(rank)), 30 * B) << rank;
  for (int64_t bucket = 0; bucket < shares.buckets(); ++bucket)
    for (int64_t rank = 0; rank < 8; ++rank)
      for (const auto& [partner, kept, given] : shares.levels(bucket, rank))
        EXPECT_TRUE(kept.size == 0 || given.size == 0);
}

TEST(Holding, HasWhatTwoHaveInCommonAndKnowsWhere) {
  const Holding a = packed({{0, 64}, {64, 64}, {256, 128}}), b = packed({{100, 200}});
  EXPECT_EQ(a, (Holding{{{0, 128}, 0}, {{256, 128}, 128}}));
  EXPECT_EQ(common(a, b), (Holding{{{100, 28}, 0}, {{256, 44}, 28}}));
  EXPECT_EQ(size_of(a), 256);
  EXPECT_EQ(place_of(a, {300, 84}), 172);
  EXPECT_THROW(place_of(a, {120, 20}), ShapeError);
  EXPECT_THROW(place_of(b, {0, 1}), ShapeError);
}

TEST(Shares, ThreeRanksOrHalfBlocksAreRefused) {
  EXPECT_THROW(Shares(B, 3, B), ShapeError);
  EXPECT_THROW(Shares(B, 2, B / 2), ShapeError);
}

}  // namespace
}  // namespace saslm
