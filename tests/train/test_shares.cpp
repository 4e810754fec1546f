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

TEST(Shares, ThreeRanksOrHalfBlocksAreRefused) {
  EXPECT_THROW(Shares(B, 3, B), ShapeError);
  EXPECT_THROW(Shares(B, 2, B / 2), ShapeError);
}

}  // namespace
}  // namespace saslm
