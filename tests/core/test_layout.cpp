#include <gtest/gtest.h>

#include "core/arena.h"
#include "core/bf16.h"
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

template <class T>
void packs_masters(bool has_masters) {
  Layout<T> whole(Mode::train), packed(Mode::train);
  for (Layout<T>* layout : {&whole, &packed}) layout->param("w", {3, 64}, "part", Init::zeros());
  packed.pack_masters(64);
  for (const Region region : {Region::parameters, Region::masters, Region::gradients}) {
    const bool fewer = region == Region::masters && has_masters;
    EXPECT_EQ(packed.elements(region), fewer ? 64 : 192);
    EXPECT_EQ(packed.region_bytes(region), whole.region_bytes(region) / (fewer ? 3 : 1)) << name_of(region);
  }
  const Arena<T> arena(packed, allocate_host(packed.bytes()));
  EXPECT_EQ(arena.template whole<float>(Region::masters).size, has_masters ? 64 : 192);
  EXPECT_EQ(arena.gradients().size, 192);
  EXPECT_EQ(arena.template tensor<float>(Region::gradients, packed.params()[0]).size, 192);
  if (has_masters) {
    EXPECT_THROW(arena.template tensor<float>(Region::masters, packed.params()[0]), ShapeError);
  }
}

TEST(Layout, PacksMastersAndNothingElse) {
  packs_masters<float>(false);  // whose masters are the parameters
  packs_masters<bf16>(true);
}

}  // namespace
}  // namespace saslm
