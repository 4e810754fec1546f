#include <gtest/gtest.h>

#include <vector>

#include "core/error.h"
#include "kernels/cuda/runtime/gemm_table.h"

namespace saslm::cuda {
namespace {

constexpr GemmTable::Shape kSmall{1, 2, 3, -4}, kLarge{int64_t{1} << 40};
constexpr GemmTable::Algorithm kOne{1, ~uint64_t{0}}, kOther{0xabcdef};

TEST(GemmTable, ComesBackFromItsText) {
  GemmTable table("cuBLASLt 130100 A GPU");
  EXPECT_EQ(table.text(), "");
  table.put(kLarge, kOther), table.put(kSmall, kOne);
  GemmTable again("cuBLASLt 130100 A GPU");
  EXPECT_TRUE(again.add(table.text()));
  ASSERT_TRUE(again.find(kSmall) && again.find(kLarge));
  EXPECT_EQ(*again.find(kSmall), kOne);
  EXPECT_EQ(*again.find(kLarge), kOther);
  EXPECT_EQ(again.find({9}), nullptr);
  EXPECT_EQ(again.text(), table.text());
}

TEST(GemmTable, HoldsForOneLibraryAndGpu) {
  GemmTable table("cuBLASLt 130100 A GPU");
  table.put(kSmall, kOne);
  GemmTable other("cuBLASLt 130100 B GPU");
  EXPECT_FALSE(other.add(table.text()));
  EXPECT_EQ(other.find(kSmall), nullptr);
  EXPECT_TRUE(other.add(""));
}

TEST(GemmTable, TakesAnothersChoicesInThePlaceOfItsOwn) {
  GemmTable table("x"), first("x");
  table.put(kSmall, kOne);
  table.put(kLarge, kOne);
  first.put(kSmall, kOther);
  EXPECT_TRUE(table.add(first.text()));
  EXPECT_EQ(*table.find(kSmall), kOther);
  EXPECT_EQ(*table.find(kLarge), kOne);
}

TEST(GemmTable, RefusesWhatIsNotItsText) {
  GemmTable table("x");
  table.put(kSmall, kOne);
  const std::string good = table.text();
  for (const std::string& bad :
       {good + "1 2\n", good + "\n", good.substr(0, good.size() - 2) + "\n",
        good.substr(0, good.size() - 2) + "g\n", good.substr(0, good.size() - 1) + " 1\n"}) {
    GemmTable fresh("x");
    EXPECT_THROW(fresh.add(bad), CheckpointError) << bad;
    EXPECT_EQ(fresh.find(kSmall), nullptr);
  }
}

TEST(GemmTable, KeepsTheRankedChoiceWhereNothingIsGained) {
  EXPECT_EQ(choose(std::vector<float>{1}), 0u);
  EXPECT_EQ(choose(std::vector<float>{1, 0.99f, 1.2f}), 0u);
  EXPECT_EQ(choose(std::vector<float>{1, 0.9f, 0.8f, 0.85f}), 2u);
}

}  // namespace
}  // namespace saslm::cuda
