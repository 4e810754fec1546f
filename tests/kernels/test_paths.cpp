// Which kernel a call gets: a function of the card's shared memory, the type, the sizes and the alignment.
#include <gtest/gtest.h>

#include "core/bf16.h"
#include "core/error.h"
#include "kernels/cuda/paths.h"

namespace saslm::cuda {
namespace {

constexpr size_t KiB = 1024;
simt::DeviceLimits card(size_t kib) {
  return {132, kib * KiB};
}
alignas(16) constexpr std::array<std::byte, 32> kMemory{};  // addresses alone; nothing is read

template <class T>
Heads<T> heads(int64_t H, int64_t D, int64_t elements_off = 0) {
  auto* const data = const_cast<std::byte*>(kMemory.data()) + elements_off * int64_t(sizeof(T));
  return heads_BTHD(reinterpret_cast<T*>(data), 1, 8, H, D);
}
template <class T = bf16>
AttentionFwd<T> fwd(int64_t E, int64_t D) {
  return {.o = heads<T>(2, D), .q = heads<T>(2, E), .k = heads<T>(2, E), .v = heads<T>(2, D)};
}
template <class T = bf16>
AttentionBwd<T> bwd(int64_t E, int64_t D) {
  return {.dq = heads<T>(2, E),
          .dk = heads<T>(2, E),
          .dv = heads<T>(2, D),
          .dy = heads<T>(2, D),
          .q = heads<T>(2, E),
          .k = heads<T>(2, E),
          .v = heads<T>(2, D)};
}
template <class T = bf16>
SasBwd<T> sas(int64_t H, int64_t Hs, int64_t D, int64_t E, bool projections = true) {
  SasBwd<T> a{.dy = heads<T>(Hs, E), .x = heads<T>(H, D), .w = {.kernel_size = 5}};
  auto* const data = reinterpret_cast<const T*>(kMemory.data());
  a.w.conv1_w = {data, Hs, H * 5, H * 5};
  if (projections) a.w.proj1_w = {data, E, D, D};
  return a;
}
template <class T>
SasFwd<T> forward_of(const SasBwd<T>& a) {
  return {.y = heads<T>(a.dy.H, a.dy.D), .x = a.x, .w = a.w};
}
template <class Call>
std::string names(const simt::DeviceLimits& of, const Call& call) {
  std::string all;
  for (const Path& path : paths_of(of, call))
    all += (all.empty() ? "" : " ") + std::string(name_of(path.variant));
  return all;
}

TEST(Paths, OfAttentionFitTheCard) {
  for (const size_t kib : {99, 163, 227})
    for (const auto& [E, D] : {std::pair(64, 64), {96, 64}, {96, 96}, {128, 128}, {192, 128}, {80, 80}})
      EXPECT_EQ(names(card(kib), fwd(E, D)), "attention_fwd.tile attention_fwd.any_width") << E << " " << D;
  EXPECT_EQ(names(card(99), fwd(100, 50)), "attention_fwd.tile attention_fwd.any_width");
  EXPECT_EQ(names(card(227), fwd(63, 64)), "attention_fwd.any_width");
  auto odd = fwd(64, 64);
  odd.k.t_stride += 1;
  EXPECT_EQ(names(card(227), odd), "attention_fwd.any_width");
  EXPECT_EQ(names(card(99), bwd(96, 64)), "attention_bwd.tile attention_bwd.any_width");
  for (const auto& [E, D] : {std::pair(96, 96), {128, 128}, {192, 128}}) {
    EXPECT_EQ(names(card(99), bwd(E, D)), "attention_bwd.narrow_tile attention_bwd.any_width") << E;
    EXPECT_EQ(names(card(163), bwd(E, D)),
              "attention_bwd.tile attention_bwd.narrow_tile attention_bwd.any_width")
        << E;
  }
  EXPECT_EQ(names(card(227), bwd(90, 90)), "attention_bwd.narrow_tile attention_bwd.any_width");
  for (const Path& path : paths_of(card(99), bwd(192, 128))) EXPECT_LE(path.shared_bytes, 99 * KiB);
}

TEST(Paths, OfSasFitTheCard) {
  const auto q = sas(12, 36, 64, 96), v = sas(12, 36, 64, 64, false);
  EXPECT_EQ(names(card(227), q), "sas_bwd.tile_4 sas_bwd.tile_2 sas_bwd.wide sas_bwd.general");
  EXPECT_EQ(names(card(163), q), "sas_bwd.tile_2 sas_bwd.wide sas_bwd.general");
  EXPECT_EQ(names(card(99), q), "sas_bwd.wide sas_bwd.general");
  EXPECT_EQ(names(card(163), v), "sas_bwd.tile_4 sas_bwd.tile_2 sas_bwd.wide sas_bwd.general");
  EXPECT_EQ(names(card(99), v), "sas_bwd.tile_2 sas_bwd.wide sas_bwd.general");  // four tokens: 136 KB
  EXPECT_EQ(names(card(99), sas(4, 12, 32, 48)), "sas_bwd.tile_4 sas_bwd.wide sas_bwd.general");
  for (const size_t kib : {99, 163, 227})
    EXPECT_EQ(names(card(kib), forward_of(q)), "sas_fwd.tile sas_fwd.wide sas_fwd.general");
}

// On an H100 every width that a model of today has is on tensor cores.
TEST(Paths, OfSasTakeAnySizesOnTensorCores) {
  for (const int64_t D : {64, 80, 100, 128})
    for (const int64_t E : {64, 80, 96, 128, 160})
      for (const int64_t Hs : {8, 20, 36, 48, 64}) {
        const auto call = sas(8, Hs, D, E);
        EXPECT_FALSE(paths_of(card(227), forward_of(call))[0].slow()) << D << " " << E << " " << Hs;
        EXPECT_FALSE(paths_of(card(227), call)[0].slow()) << D << " " << E << " " << Hs;
      }
}

TEST(Paths, SayWhyTheyAreSlowAndWhatIsFast) {
  const auto says = [](const std::string& text, const char* part) {
    EXPECT_NE(text.find(part), std::string::npos) << "\"" << text << "\" does not say \"" << part << "\"";
  };
  EXPECT_EQ(why_slow(card(227), fwd(64, 64)), "");
  says(why_slow(card(227), fwd<float>(64, 64)), "runtime.precision bf16");
  says(why_slow(card(227), fwd(200, 128)), "(200, 128): no tile is wider than (192, 128)");
  says(why_slow(card(227), bwd(7, 7)), "tiles want even widths");
  says(why_slow(card(20), bwd(64, 64)), "bytes of shared memory a block, this card has 20480");
  EXPECT_EQ(why_slow(card(227), sas(12, 36, 50, 96)), "");
  says(why_slow(card(227), sas(12, 36, 64, 90)), "a sim_head_dim that is a multiple of 16");
  says(why_slow(card(40), sas(12, 36, 64, 96)), "this card has 40960");
  auto features = sas(12, 12, 64, 96);
  features.w.conv1_w = {};
  says(why_slow(card(227), features), "features alone");
  EXPECT_EQ(paths_of(card(227), fwd(7, 7))[0].text(), "any width, without tensor cores");
}

TEST(Paths, AStreamAvoidsThoseItIsTold) {
  const Paths paths = paths_of(card(227), bwd(96, 96));
  EXPECT_EQ(choose(paths, {}).variant, Variant::attention_bwd_tile);
  for (const Path& path : paths)
    EXPECT_EQ(choose(paths, {.avoided = only(path.variant)}).variant, path.variant);
  EXPECT_EQ(choose(paths, {.avoided = only(Variant::sas_bwd_general)}).variant, Variant::attention_bwd_tile);
  EXPECT_THROW(choose(paths, {.avoided = ~0u}), MachineError);
}

TEST(Paths, AreKnownByTheirNames) {
  for (int i = 0; i < kVariants; ++i) EXPECT_EQ(variant_of(name_of(Variant(i))), Variant(i));
  EXPECT_FALSE(variant_of("attention_bwd"));
}

}  // namespace
}  // namespace saslm::cuda
