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

// Room that only the padded views know of.
TEST(Layout, PadRowsLieBehindAWeightAndAreNoWeights) {
  Layout<bf16> layout(Mode::train);
  const Param odd = layout.param("odd", {50, 24}, "part", Init::zeros(), 14);
  const Param next = layout.param("next", {3}, "part", Init::zeros());
  EXPECT_EQ(next.offset, 64 * 24);
  EXPECT_EQ(layout.params()[0].size, 50 * 24);
  EXPECT_EQ(layout.params()[0].shape, (std::vector<int64_t>{50, 24}));

  const Arena<bf16> arena(layout, allocate_host(layout.bytes()));
  EXPECT_EQ(arena.weight(odd).rows, 50);
  EXPECT_EQ(arena.weight_grad(odd).rows, 50);
  EXPECT_EQ(arena.padded_weight(odd).rows, 64);
  EXPECT_EQ(arena.padded_weight(odd).data, arena.weight(odd).data);
  EXPECT_EQ(arena.padded_weight_grad(odd)[64], arena.vector_grad(next).data);
  EXPECT_EQ(arena.padded_weight(next).rows, 3);  // which has no pad
}

TEST(Layout, ScopesLieOverTheirSiblingsAndBesideWhatTheirOuterOnesHold) {
  Layout<float> layout(Mode::train);
  using Scope = Layout<float>::Scope;
  const auto declare = [&](const char* name, int64_t size) {
    return layout.vec<float>(Region::scratch, name, size).offset_bytes;
  };
  Extent outer, second;
  EXPECT_EQ(declare("before", 64), 0);
  {
    const Scope scope(layout, Region::scratch, &outer);
    EXPECT_EQ(declare("own", 64), 256);
    {
      const Scope first(layout, Region::scratch);
      EXPECT_EQ(declare("first", 640), 512);
    }
    const Scope within(layout, Region::scratch, &second);
    EXPECT_EQ(declare("second", 128), 512);
    EXPECT_EQ(layout.vec<float>(Region::tables, "table", 1).offset_bytes,
              0);  // regions do not know each other
  }
  EXPECT_EQ(outer.offset_bytes, 256);
  EXPECT_EQ(outer.bytes, 256 + 2560);  // own, and the larger of those within
  EXPECT_EQ(second.offset_bytes, 512);
  EXPECT_EQ(second.bytes, 512);
  EXPECT_EQ(layout.region_bytes(Region::scratch), 256 + 256 + 2560);
}

TEST(Layout, RefusesWhatIsDeclaredBesideAScopeThatHasEnded) {
  Layout<float> layout(Mode::train);
  {
    const Layout<float>::Scope norm(layout, Region::scratch);
    layout.vec<float>(Region::scratch, "norm.partial", 1);
  }
  try {
    layout.vec<float>(Region::scratch, "dy", 1);
    FAIL() << "dy would lie over norm.partial";
  } catch (const ShapeError& error) {
    EXPECT_NE(std::string(error.what()).find("dy is declared after a scope beside it has ended"),
              std::string::npos)
        << error.what();
  }
  const Layout<float>::Scope next(layout, Region::scratch);
  EXPECT_EQ(layout.vec<float>(Region::scratch, "dy", 1).offset_bytes, 0);
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
