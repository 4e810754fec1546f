// Attention kernels against cpu::attention_*<double>. Bounds: attention_case.h.
#include <algorithm>
#include <bit>
#include <cmath>
#include <string>
#include <vector>

#include "core/error.h"
#include "kernels/attention.h"
#include "kernels/cuda/paths.h"
#include "simt/attention_case.h"
#include "simt/twin.h"

namespace saslm {
namespace {

using namespace attention_tests;

template <class T>
class SimtAttention : public ::testing::Test {};
using Types = ::testing::Types<float, bf16>;
TYPED_TEST_SUITE(SimtAttention, Types);

// Large shapes run under one schedule: the race detector finds what depends on another order.
constexpr auto every_schedule = simt::Schedules::every, one_schedule = simt::Schedules::one;
enum Directions { both, backward };

template <class T>
void expect_twin(const Shape& s, simt::Schedules schedules = every_schedule, Directions directions = both,
                 size_t shared_bytes = simt::kMaxSharedBytes) {
  SCOPED_TRACE(s.name() + ", " + std::to_string(shared_bytes) + " bytes of shared memory");
  Case<T> c(s);
  cpu::attention_fwd<double>({}, c.template fwd<double>());
  // On both sides backward starts from forward's results, rounded to T.
  std::vector<double> o, lse;
  for (int64_t i = 0; i < c.o.twin.size(); ++i) o.push_back(c.o.twin.twin(i)), c.o.twin.set(i, o.back());
  for (int64_t i = 0; i < c.lse.twin.size(); ++i)
    lse.push_back(c.lse.twin.twin(i)), c.lse.twin.set(i, lse.back());
  const bool training = s.start == 0;
  if (training) cpu::attention_bwd<double>({}, c.template bwd<double>());
  c.bound();

  std::vector<uint32_t> first;
  const auto run = [&](Stream stream) {
    c.poison();
    std::vector<uint32_t> bits;
    if (directions == both) {
      for (int64_t i = 0; i < c.o.twin.size(); ++i) c.o.twin.twin(i) = o[size_t(i)];
      for (int64_t i = 0; i < c.lse.twin.size(); ++i) c.lse.twin.twin(i) = lse[size_t(i)];
      cuda::attention_fwd<T>(stream, c.template fwd<T>());
      c.o.expect_within("o"), c.lse.expect_within("lse");
      if (s.Hp < s.H) c.y.expect_within("y");
      append_bits(bits, c.o.twin), append_bits(bits, c.lse.twin);
    }
    if (training) {
      for (int64_t i = 0; i < c.o.twin.size(); ++i) c.o.twin.set(i, o[size_t(i)]);
      for (int64_t i = 0; i < c.lse.twin.size(); ++i) c.lse.twin.set(i, lse[size_t(i)]);
      cuda::attention_bwd<T>(stream, c.template bwd<T>());
      c.dq.expect_within("dq");
      append_bits(bits, c.dq.twin);
      if (!c.one) {
        c.dk.expect_within("dk"), c.dv.expect_within("dv");
        append_bits(bits, c.dk.twin), append_bits(bits, c.dv.twin);
      }
    }
    if (first.empty()) first = bits;
    EXPECT_EQ(bits, first) << "not the bits of the first schedule";
  };
  simt::for_schedules(schedules, shared_bytes, run);
}

// Every path and border: tiles of 64 keys and 128 queries in forward, 128 keys and 64 queries in backward; 32
// rows at a time in float.
TYPED_TEST(SimtAttention, IsItsTwin) {
  using S = Shape;
  for (const Shape& s : std::vector<Shape>{
           {},
           {.T = 65, .H = 2, .Hp = 2, .Gk = 2, .Gv = 2, .E = 16, .D = 16, .layout = S::fused},
           {.T = 20, .H = 6, .Hp = 2, .Gk = 6, .Gv = 6, .E = 96, .D = 64},        // sas
           {.B = 2, .T = 3, .H = 2, .Hp = 2, .layout = S::fused},                 // mqa
           {.T = 3, .H = 6, .Hp = 6, .Gk = 2, .Gv = 2},                           // gqa
           {.T = 4, .H = 4, .Hp = 2, .Gk = 4, .Gv = 2, .v_modulo = 2, .E = 24},   // sas without values
           {.T = 5, .H = 4, .Hp = 2, .Gk = 2, .v_modulo = 2, .layout = S::BHTD},  // the same over mqa
       })
    expect_twin<TypeParam>(s, s.H == 4 ? one_schedule : every_schedule);
}

// Longer than two tiles of every kind, no multiple of one.
TEST(SimtAttentionTiles, IsItsTwinOverManyTiles) {
  expect_twin<bf16>({.T = 300, .E = 96, .D = 64, .layout = Shape::BHTD}, one_schedule);
  expect_twin<bf16>({.T = 261, .H = 2, .Hp = 1, .Gk = 1, .Gv = 1, .E = 64, .D = 64}, one_schedule);
  expect_twin<bf16>({.T = 520, .H = 2, .Hp = 2, .E = 64, .D = 64}, one_schedule,
                    backward);  // 5 key blocks, 2 splits
  expect_twin<float>({.T = 101, .E = 8, .D = 8}, one_schedule);
}

// The other tiles that are compiled, whole and padded; then widths that no tile holds, and rows that do not
// begin on 16 bytes.
TEST(SimtAttentionTiles, TakesAnyWidth) {
  const int64_t pairs[][2] = {{64, 64}, {96, 64}, {96, 96},   {128, 128}, {192, 128}, {8, 64},   {72, 8},
                              {40, 80}, {120, 8}, {136, 104}, {200, 16},  {16, 136},  {7, 5},    {12, 8},
                              {8, 1},   {2, 2},   {80, 80},   {100, 50},  {100, 100}, {130, 10}, {90, 70}};
  for (const auto& [E, D] : pairs) expect_twin<bf16>({.T = 70, .E = E, .D = D}, one_schedule);
  expect_twin<float>({.T = 35, .H = 2, .Hp = 2, .Gk = 1, .Gv = 2, .E = 33, .D = 70}, one_schedule);
}

// Splits of a chunk, whose dq are added up, at the widths that IsItsTwinOverManyTiles does not have.
TEST(SimtAttentionTiles, AddsUpTheSplitsOfEveryWidth) {
  const int64_t pairs[][2] = {{96, 64}, {96, 96}, {128, 128}, {192, 128}};
  for (const auto& [E, D] : pairs) expect_twin<bf16>({.T = 389, .E = E, .D = D}, one_schedule, backward);
}

// Rows that begin on 4 bytes: over several tiles, with groups to average over and shared heads, in parts of
// one tensor.
TEST(SimtAttentionTiles, TakesEvenWidths) {
  expect_twin<bf16>({.T = 150, .H = 4, .Hp = 2, .Gk = 2, .Gv = 2, .E = 50, .D = 38}, simt::Schedules::two);
  expect_twin<bf16>({.T = 140, .H = 2, .Hp = 1, .Gk = 2, .Gv = 2, .E = 100, .D = 100, .layout = Shape::BHTD},
                    one_schedule);
  expect_twin<bf16>({.T = 70, .H = 3, .Hp = 3, .Gk = 3, .Gv = 3, .E = 44, .D = 44, .layout = Shape::fused},
                    one_schedule);
}

// Backward where the whole tile does not fit: the narrow tile, over several key blocks, in two splits.
TEST(SimtAttentionTiles, FitsCardsOfLessSharedMemory) {
  constexpr size_t k99 = 99 * 1024, k163 = 163 * 1024;
  const int64_t pairs[][2] = {{64, 64}, {96, 64}, {96, 96}, {128, 128}, {192, 128}};
  for (const auto& [E, D] : pairs) {
    expect_twin<bf16>({.T = 70, .E = E, .D = D}, one_schedule, both, k163);
    expect_twin<bf16>({.T = 150, .H = 2, .Hp = 2, .E = E, .D = D}, one_schedule, both, k99);
  }
  expect_twin<bf16>({.T = 300, .E = 96, .D = 96}, one_schedule, backward, k99);
  expect_twin<bf16>({.T = 70, .H = 4, .Hp = 2, .Gk = 4, .Gv = 2, .v_modulo = 2, .E = 88, .D = 80},
                    every_schedule, backward, k99);
}

TYPED_TEST(SimtAttention, GoesOnFromACache) {
  for (const Shape::Layout layout : {Shape::BTHD, Shape::BHTD}) {
    expect_twin<TypeParam>(
        {.B = 2, .T = 1, .start = 99, .H = 2, .Hp = 1, .Gk = 1, .Gv = 2, .layout = layout});
    expect_twin<TypeParam>({.T = 3, .start = 62, .H = 2, .Hp = 2, .Gk = 2, .Gv = 2, .layout = layout});
  }
  expect_twin<bf16>({.T = 140, .start = 70, .E = 64, .D = 64}, one_schedule);
}

// More work tiles than thread blocks; chunks of one and of two heads, sharing k and v or v alone. Backward
// only.
TEST(SimtAttentionTiles, SharesHeadsAmongBlocks) {
  for (const Shape& s : std::vector<Shape>{
           {.B = 265}, {.B = 64, .T = 2, .H = 3, .Hp = 3}, {.B = 64, .T = 2, .H = 3, .Gk = 3, .v_modulo = 1}})
    expect_twin<bf16>(s, one_schedule, backward);
}

// Windows and documents: the mask's left edge within a tile, at its border, and tiles away from the diagonal;
// in every kernel, over shared heads, splits whose dq are added up, the narrow tile, and the cache.
TYPED_TEST(SimtAttention, SeesWhatTheMaskShows) {
  using S = Shape;
  for (const Shape& s : std::vector<Shape>{
           {.T = 70, .window = 1},
           {.B = 2, .T = 67, .H = 2, .Hp = 1, .Gk = 1, .Gv = 2, .layout = S::BHTD, .window = 9},
           {.T = 40, .window = 40},
           {.T = 40, .window = 1000},
           {.B = 2, .T = 75, .H = 2, .Hp = 2, .documents = 9},
           {.B = 2, .T = 75, .H = 4, .Hp = 2, .Gk = 4, .Gv = 2, .v_modulo = 2, .window = 20, .documents = 30},
           {.B = 2, .T = 1, .start = 99, .H = 2, .Hp = 1, .Gk = 1, .Gv = 2, .window = 33},
           {.T = 3, .start = 62, .H = 2, .Hp = 2, .Gk = 2, .Gv = 2, .documents = 20},
       })
    expect_twin<TypeParam>(s, s.B == 2 && s.T > 1 ? one_schedule : every_schedule);
}

TEST(SimtAttentionTiles, SeesWhatTheMaskShowsOverManyTiles) {
  expect_twin<bf16>({.T = 330, .E = 96, .D = 64, .layout = Shape::BHTD, .window = 130}, one_schedule);
  expect_twin<bf16>({.T = 330, .H = 2, .Hp = 1, .E = 64, .D = 64, .window = 17}, one_schedule);
  expect_twin<bf16>({.T = 330, .E = 64, .D = 64, .window = 65}, one_schedule, backward);  // to the block
  expect_twin<bf16>({.B = 2, .T = 330, .E = 64, .D = 64, .documents = 90}, one_schedule);
  expect_twin<bf16>({.T = 140, .start = 270, .E = 64, .D = 64, .window = 100}, one_schedule);
  expect_twin<float>({.T = 101, .E = 8, .D = 8, .window = 50}, one_schedule);
}

// Splits that have no part of some dq because of the window; the narrow tile; the widest tiles.
TEST(SimtAttentionTiles, WindowsReachEveryTile) {
  constexpr size_t k99 = 99 * 1024;
  expect_twin<bf16>({.T = 600, .E = 64, .D = 64, .window = 70}, one_schedule, backward);
  expect_twin<bf16>({.T = 520, .E = 96, .D = 64, .window = 300}, one_schedule, backward);
  const int64_t pairs[][2] = {{96, 96}, {128, 128}, {192, 128}};
  for (const auto& [E, D] : pairs) {
    expect_twin<bf16>({.T = 200, .E = E, .D = D, .window = 45}, one_schedule);
    expect_twin<bf16>({.T = 200, .E = E, .D = D, .documents = 60}, one_schedule, backward, k99);
  }
  expect_twin<bf16>({.T = 150, .E = 100, .D = 50, .window = 30}, one_schedule);
  expect_twin<bf16>({.T = 70, .E = 7, .D = 5, .window = 30}, one_schedule);
}

// Shapes of models: sas at 12 channels of 36 heads, and sequences of 1024 and 2048.
TEST(SimtAttentionTiles, DISABLED_LargeShapesAreTheirTwins) {
  expect_twin<bf16>({.B = 2, .T = 300, .H = 36, .Hp = 12, .Gk = 36, .Gv = 36, .E = 96, .D = 64});
  expect_twin<bf16>({.T = 1024, .H = 4, .Hp = 2, .Gk = 4, .Gv = 2, .v_modulo = 2, .E = 96, .D = 64});
  expect_twin<bf16>({.T = 2048, .E = 96, .D = 64, .layout = Shape::BHTD});
  expect_twin<bf16>({.T = 1024, .H = 3, .Hp = 3, .Gk = 3, .Gv = 3, .E = 64, .D = 64, .layout = Shape::fused});
  expect_twin<bf16>({.T = 2048, .H = 2, .Hp = 2, .E = 64, .D = 64});
}

TYPED_TEST(SimtAttention, NamesWhatIsWrong) {
  Case<TypeParam> c({.T = 2, .H = 2, .Hp = 2, .Gk = 2, .Gv = 2});
  const auto message = [&](auto&& change) -> std::string {
    auto fwd = c.template fwd<TypeParam>();
    auto bwd = c.template bwd<TypeParam>();
    change(fwd, bwd);
    try {
      cuda::attention_fwd<TypeParam>({}, fwd);
      cuda::attention_bwd<TypeParam>({}, bwd);
    } catch (const ShapeError& error) {
      return error.what();
    }
    return "";
  };
  const auto says = [](const std::string& text, const char* part) {
    EXPECT_NE(text.find(part), std::string::npos) << "\"" << text << "\" does not say \"" << part << "\"";
  };
  says(message([](auto& fwd, auto&) { fwd.k.T = 1; }), "attention_fwd: k must be (1, 2, 2, 8)");
  says(message([](auto&, auto& bwd) { bwd.dk.H = 1; }), "attention_bwd: dk must be (1, 2, 2, 8)");
  says(message([](auto&, auto& bwd) { --bwd.scratch.size; }), "attention_bwd: scratch has");
  says(message([](auto&, auto& bwd) { ++bwd.scratch.data; }), "attention_bwd: scratch does not begin");
}

}  // namespace
}  // namespace saslm
