// The SAS simulation's kernels against their twins in double. Tolerances: sas_case.h.
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/types.h"
#include "kernels/cuda/paths.h"
#include "kernels/sas.h"
#include "simt/sas_case.h"
#include "simt/twin.h"

namespace saslm {
namespace {

using namespace sas_tests;

// The kernel to be tested where several could compute the call; on a GPU with less shared memory than it
// needs, the general one.
using By = std::optional<cuda::Variant>;
Stream by(Stream stream, const By& variant) {
  if (variant)
    stream.avoided = cuda::only(*variant) & ~cuda::bit_of(cuda::Variant::sas_fwd_general) &
                     ~cuda::bit_of(cuda::Variant::sas_bwd_general);
  return stream;
}

template <class T>
void expect_forward(const Sizes& sizes, size_t shared_bytes = simt::kMaxSharedBytes, const By& variant = {}) {
  Case<T> c(sizes);
  cpu::sas_fwd<double>({}, c.template fwd<double>());
  std::vector<T> first;
  simt::for_schedules(sizes.schedules, shared_bytes, [&](Stream stream) {
    c.y.restart(kBefore);
    cuda::sas_fwd<T>(by(stream, variant), c.template fwd<T>());
    c.y.expect_near(kForward<T>, "y");
    expect_same_bits(c.y, first, "y");
  });
}

template <class T>
void expect_backward(const Sizes& sizes, size_t shared_bytes = simt::kMaxSharedBytes,
                     const By& variant = {}) {
  Case<T> c(sizes);
  cpu::sas_bwd<double>({}, c.template bwd<double>());
  std::vector<T> first_dx;
  std::vector<std::vector<float>> first_dw(8);
  simt::for_schedules(sizes.schedules, shared_bytes, [&](Stream stream) {
    c.dx.restart(kBefore);
    c.partial.poison();
    for (auto [name, dw] : c.gradients()) dw->restart(kBefore);
    cuda::sas_bwd<T>(by(stream, variant), c.template bwd<T>());
    c.dx.expect_near(kBackward<T>, "dx");
    expect_same_bits(c.dx, first_dx, "dx");
    for (size_t i = 0; auto [name, dw] : c.gradients()) {
      dw->expect_near(kBackward<T>, name);
      expect_same_bits(*dw, first_dw[i++], name);
    }
  });
}

constexpr size_t kSm80Bytes = 163 * 1024;

const Sizes kQuickstart = {.B = 5, .T = 7, .H = 4, .D = 32, .Hs = 12, .E = 48, .K = 5};
const Sizes kFewer = {.B = 3, .T = 6, .H = 4, .D = 32, .Hs = 12, .E = 48, .K = 5};
const Sizes kSmall = {.B = 1, .T = 3, .H = 12, .D = 64, .Hs = 36, .E = 96, .K = 5};
const Sizes kMedium = {.B = 1, .T = 3, .H = 16, .D = 64, .Hs = 48, .E = 96, .K = 5};
const Sizes kOverTpa = {.B = 3, .T = 1, .H = 34, .D = 64, .Hs = 34, .E = 96, .K = 5};

Sizes values(Sizes s, bool rope = false) {
  s.projections = s.rope = false;
  s.E = s.D;
  s.rope = rope;
  return s;
}
template <class Change>
Sizes with(Sizes s, Change change) {
  change(s);
  return s;
}
Sizes every_schedule(Sizes s) {
  s.schedules = simt::Schedules::every;
  return s;
}

// Several blocks, several passes of a warp, a last token without its pair.
TEST(SimtSas, Forward) {
  expect_forward<bf16>(every_schedule(kQuickstart));
}
TEST(SimtSas, ForwardOfValues) {
  expect_forward<bf16>(every_schedule(values(kQuickstart)));
}
TEST(SimtSas, ForwardOfHeadsAlone) {
  expect_forward<bf16>(values(kQuickstart, true));
}
TEST(SimtSas, ForwardAt124M) {
  expect_forward<bf16>(kSmall);
}
TEST(SimtSas, ForwardAt353M) {
  expect_forward<bf16>(kMedium);
}
TEST(SimtSas, ForwardOverTpa) {
  expect_forward<bf16>(kOverTpa);
}
TEST(SimtSas, ForwardOfValuesAtEverySize) {
  for (const Sizes& s : {kSmall, kMedium, kOverTpa}) expect_forward<bf16>(values(s));
}
TEST(SimtSas, ForwardWithFewerWarps) {
  expect_forward<bf16>(kQuickstart, 48 * 1024);
}
TEST(SimtSas, ForwardWithShorterKernelsAndFewerHeads) {
  for (const int64_t K : {1, 3})
    expect_forward<bf16>(
        with(kQuickstart, [&](Sizes& s) { s.H = 3, s.Hs = 7, s.K = K, s.T = 1, s.start = 6; }));
}
TEST(SimtSas, ForwardOfUnalignedViews) {
  expect_forward<bf16>(with(kQuickstart, [](Sizes& s) { s.x = s.y = Order::gaps; }));
  expect_forward<bf16>(with(values(kQuickstart), [](Sizes& s) { s.y = Order::gaps; }));
  expect_forward<bf16>(
      with(kQuickstart, [](Sizes& s) { s.x = Order::BHTD, s.y = Order::BTHD, s.start = 3; }));
}

// Several partitions, several steps of a partition, a last step of fewer tokens.
TEST(SimtSas, Backward) {
  expect_backward<bf16>(every_schedule(kFewer));
}
TEST(SimtSas, BackwardOfValues) {
  expect_backward<bf16>(every_schedule(values(kFewer)));
}
TEST(SimtSas, BackwardOfHeadsAlone) {
  expect_backward<bf16>(values(kFewer, true));
}
TEST(SimtSas, BackwardAt124M) {
  expect_backward<bf16>(with(kSmall, [](Sizes& s) { s.T = 5; }));
}
TEST(SimtSas, BackwardAt353M) {
  expect_backward<bf16>(kMedium);
}
TEST(SimtSas, BackwardOverTpa) {
  expect_backward<bf16>(kOverTpa);
}
TEST(SimtSas, BackwardOfValuesAtEverySize) {
  for (const Sizes& s : {kSmall, kMedium, kOverTpa}) expect_backward<bf16>(values(s));
}
TEST(SimtSas, BackwardOfTwoTokensAtATime) {
  for (const Sizes& s : {kSmall, kMedium, kOverTpa, values(kMedium), values(kOverTpa)})
    expect_backward<bf16>(s, kSm80Bytes);
}
// On 99 KiB four tokens' values do not fit, but two tokens' do; queries and keys take the wide kernel.
TEST(SimtSas, OnCardsOfLessSharedMemory) {
  constexpr size_t k99 = 99 * 1024;
  for (const Sizes& s : {values(kSmall), values(kMedium), kQuickstart,
                         with(kSmall, [](Sizes& one) { one.T = 1, one.schedules = simt::Schedules::one; })}) {
    expect_forward<bf16>(s, k99);
    expect_backward<bf16>(s, k99);
  }
}
TEST(SimtSas, BackwardWithShorterKernelsAndFewerHeads) {
  for (const int64_t K : {1, 3})
    expect_backward<bf16>(with(kQuickstart, [&](Sizes& s) { s.H = 3, s.Hs = 7, s.K = K, s.T = 1; }));
}
TEST(SimtSas, BackwardOfUnalignedViews) {
  const Sizes few = with(kQuickstart, [](Sizes& s) { s.B = 2, s.T = 3; });
  expect_backward<bf16>(with(few, [](Sizes& s) { s.x = s.y = Order::gaps; }));
  expect_backward<bf16>(with(values(few), [](Sizes& s) { s.y = Order::gaps; }));
  expect_backward<bf16>(with(few, [](Sizes& s) { s.x = Order::BHTD, s.y = Order::BTHD, s.rope = false; }));
}

// Sizes that no tile is compiled for: the wide kernels, on tensor cores, from 99 KiB to 227. Several tokens
// at a time and one; heads, positions and features that fill no fragment.
void expect_wide(const Sizes& s, size_t shared_bytes = simt::kMaxSharedBytes) {
  expect_forward<bf16>(s, shared_bytes, cuda::Variant::sas_fwd_wide);
  expect_backward<bf16>(s, shared_bytes, cuda::Variant::sas_bwd_wide);
}
TEST(SimtSas, WideForward) {
  const Sizes ragged = {.B = 3, .T = 7, .H = 3, .D = 20, .Hs = 7, .E = 32, .K = 3};
  expect_forward<bf16>(every_schedule(ragged), simt::kMaxSharedBytes, cuda::Variant::sas_fwd_wide);
  expect_forward<bf16>(every_schedule(values(ragged)), 64 * 1024, cuda::Variant::sas_fwd_wide);
}
TEST(SimtSas, WideBackward) {
  const Sizes ragged = {.B = 3, .T = 7, .H = 3, .D = 20, .Hs = 7, .E = 32, .K = 3};
  expect_backward<bf16>(every_schedule(ragged), simt::kMaxSharedBytes, cuda::Variant::sas_bwd_wide);
  expect_backward<bf16>(every_schedule(values(ragged)), 32 * 1024, cuda::Variant::sas_bwd_wide);
}
TEST(SimtSas, WideSizesOfModels) {
  for (const size_t kib : {99, 163, 227}) {
    expect_wide(with(kSmall, [](Sizes& s) { s.schedules = simt::Schedules::one; }), kib * 1024);
    expect_wide({.T = 3, .H = 8, .D = 80, .Hs = 24, .E = 64, .K = 5, .schedules = simt::Schedules::one},
                kib * 1024);
  }
  for (const Sizes& s : {Sizes{.T = 2, .H = 16, .D = 64, .Hs = 64, .E = 160, .K = 5},
                         {.T = 2, .H = 10, .D = 128, .Hs = 40, .E = 128, .K = 5},
                         {.T = 2, .H = 4, .D = 100, .Hs = 8, .E = 80, .K = 5, .rope = false}}) {
    expect_wide(with(s, [](Sizes& one) { one.schedules = simt::Schedules::one; }));
  }
}
TEST(SimtSas, WideOfUnalignedViewsAndLongKernels) {
  expect_wide(
      {.B = 2, .T = 3, .H = 2, .D = 13, .Hs = 9, .E = 16, .K = 7, .y = Order::gaps, .x = Order::gaps});
  expect_wide(values({.T = 5, .H = 17, .D = 33, .Hs = 20, .K = 1, .y = Order::gaps}));
  expect_wide(values({.T = 5, .H = 5, .D = 34, .Hs = 20, .K = 9}, true));
}
// Without projections: y's rows by words, with a rope and without, positions in whole blocks of 8 and not.
TEST(SimtSas, WideOfHeadsAlone) {
  for (const int64_t D : {48, 100})
    for (const bool rope : {false, true})
      expect_wide(values({.B = 2, .T = 3, .H = 5, .D = D, .Hs = 20, .K = 3}, rope));
}

// Shapes of models: more tokens than all blocks of any GPU take at once.
TEST(SimtSas, DISABLED_LargeShapes) {
  for (const Sizes& s : {with(kSmall, [](Sizes& many) { many.B = 2, many.T = 1027; }),
                         with(values(kSmall), [](Sizes& many) { many.T = 2048; })}) {
    expect_forward<bf16>(s);
    expect_backward<bf16>(s);
  }
}

// Sizes that no tensor-core kernel is compiled for.
const Sizes kOdd = {.B = 2, .T = 9, .H = 3, .D = 10, .Hs = 7, .E = 14, .K = 7, .y = Order::gaps};

template <class T>
void expect_any(Sizes s, size_t shared_bytes = simt::kMaxSharedBytes) {
  expect_backward<T>(s, shared_bytes);
  s.start = 2;
  expect_forward<T>(s, shared_bytes);
}
TEST(SimtSas, AnySizesInFloat) {
  expect_any<float>(kOdd);
  expect_any<float>(with(kQuickstart, [](Sizes& s) { s.B = 2, s.T = 2; }));
}
TEST(SimtSas, AnySizesInBf16) {
  expect_any<bf16>(every_schedule(kOdd));
}
TEST(SimtSas, AnyKernelSize) {
  for (const int64_t K : {1, 3, 5, 7}) expect_any<float>(with(kOdd, [&](Sizes& s) { s.K = K, s.T = 1; }));
}
TEST(SimtSas, EachHalfAbsent) {
  const auto no_convs = with(kOdd, [](Sizes& s) { s.convs = false, s.Hs = s.H; });
  expect_any<float>(values(kOdd));
  expect_any<float>(values(kOdd, true));
  expect_any<float>(no_convs);
  expect_any<bf16>(no_convs);
  expect_any<bf16>(values(no_convs, true));
  expect_any<float>(with(kOdd, [](Sizes& s) { s.rope = false; }));
}
// Beside 17 and 24 lines of 68 bytes, 2 of 7 heads' rows of 120 and 180.
TEST(SimtSas, RowsOfAFewHeadsAtATime) {
  expect_forward<float>(kOdd, 1156 + 2 * 120);
  expect_backward<float>(kOdd, 1632 + 2 * 180);
}

TEST(SimtSas, NamesWhatDoesNotFit) {
  Case<float> c(kOdd);
  SasFwd<float> fwd = c.fwd<float>();
  fwd.y.D -= 2;
  EXPECT_THROW(cuda::sas_fwd<float>({}, fwd), ShapeError);
  SasBwd<float> bwd = c.bwd<float>();
  bwd.partial.size -= 1;
  EXPECT_THROW(cuda::sas_bwd<float>({}, bwd), ShapeError);
  simt::for_schedules(simt::Schedules::one, 1000, [&](Stream stream) {
    EXPECT_THROW(cuda::sas_fwd<float>(stream, c.fwd<float>()), ShapeError);
    EXPECT_THROW(cuda::sas_bwd<float>(stream, c.bwd<float>()), ShapeError);
  });
}

}  // namespace
}  // namespace saslm
