#include <gtest/gtest.h>

#include "core/arena.h"
#include "core/layout.h"

namespace saslm {
namespace {

TEST(Layout, AlignedRowsBeginEvery128BytesAndLieApart) {
  Layout<float> layout(Mode::infer);
  const auto odd = layout.mat_of_aligned_rows(Region::scratch, "odd", 3, 33);
  const auto whole = layout.mat_of_aligned_rows(Region::scratch, "whole", 3, 64);
  EXPECT_EQ(odd.shape.stride, 64);
  EXPECT_EQ(odd.shape.cols, 33);
  EXPECT_TRUE(whole.shape.contiguous());
  EXPECT_EQ(layout.bytes(), 2 * 3 * 64 * int64_t(sizeof(float)));

  const Arena<float> arena(layout, allocate_host(layout.bytes()));
  for (int64_t r = 0; r < 3; ++r)
    EXPECT_EQ(reinterpret_cast<uintptr_t>(arena.at(odd)[r]) % 128, 0u) << "row " << r;
  EXPECT_GE(arena.at(whole)[0], arena.at(odd)[2] + 33);
}

}  // namespace
}  // namespace saslm
