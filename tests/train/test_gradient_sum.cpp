#include <gtest/gtest.h>

#include <string>

#include "train/gradient_sum.h"

namespace saslm {
namespace {

// What SumTree's instructions do, with sums written as text.
std::string summed(int64_t leaves, int64_t first = 0) {
  const SumTree tree(leaves);
  std::vector<std::string> buffers(size_t(tree.buffers()));
  for (int64_t i = 0; i < leaves; ++i) {
    auto [buffer, merges] = tree.leaf(i);
    EXPECT_LT(buffer, tree.buffers());
    buffers.at(size_t(buffer)) = std::to_string(first + i);
    for (; merges > 0; --merges, --buffer)
      buffers[size_t(buffer) - 1] = "(" + buffers[size_t(buffer) - 1] + "+" + buffers[size_t(buffer)] + ")";
    EXPECT_TRUE(i + 1 < leaves || buffer == 0);
  }
  return buffers[0];
}

TEST(SumTree, CutsInHalves) {
  EXPECT_EQ(summed(1), "0");
  EXPECT_EQ(summed(2), "(0+1)");
  EXPECT_EQ(summed(3), "((0+1)+2)");
  EXPECT_EQ(summed(5), "(((0+1)+2)+(3+4))");
  EXPECT_EQ(summed(8), "(((0+1)+(2+3))+((4+5)+(6+7)))");
}

// The ranks' subtrees, joined as over_ranks joins them: neighbours, then pairs of pairs.
TEST(SumTree, IsTheSameTreeOnAnyNumberOfRanks) {
  for (int64_t leaves = 1; leaves <= 48; ++leaves)
    for (int64_t ranks = 1; ranks <= 16; ranks *= 2) {
      if (leaves % ranks != 0) continue;
      std::vector<std::string> sums;
      for (int64_t r = 0; r < ranks; ++r) sums.push_back(summed(leaves / ranks, r * (leaves / ranks)));
      for (; sums.size() > 1; sums.resize(sums.size() / 2))
        for (size_t i = 0; i < sums.size() / 2; ++i)
          sums[i] = "(" + sums[2 * i] + "+" + sums[2 * i + 1] + ")";
      EXPECT_EQ(sums[0], summed(leaves)) << leaves << " leaves on " << ranks << " ranks";
    }
}

TEST(SumTree, KeepsALogarithmOfBuffers) {
  for (const auto& [leaves, buffers] :
       {std::pair{1, 1}, {2, 2}, {3, 2}, {4, 3}, {8, 4}, {9, 4}, {1 << 16, 17}})
    EXPECT_EQ(SumTree(leaves).buffers(), buffers) << leaves;
}

TEST(Stages, MixNoNeighboursWithOthersAndAreOfThreeLevelsAtMost) {
  const auto text = [](size_t depth, int64_t near) {
    std::string all;
    for (const LevelRange& stage : stages_of(depth, near))
      all += std::to_string(stage.first) + "-" + std::to_string(stage.end) + " ";
    return all;
  };
  EXPECT_EQ(text(0, 8), "");
  EXPECT_EQ(text(1, 8), "0-1 ");
  EXPECT_EQ(text(3, 8), "0-3 ");
  EXPECT_EQ(text(6, 8), "0-3 3-6 ");
  EXPECT_EQ(text(7, 8), "0-3 3-6 6-7 ");
  EXPECT_EQ(text(6, 4), "0-2 2-5 5-6 ");
  EXPECT_EQ(text(6, 1), "0-3 3-6 ");
  EXPECT_EQ(text(5, 16), "0-3 3-4 4-5 ");
}

}  // namespace
}  // namespace saslm
