// Attention kernels against cpu::attention_*<double>.
//
// Bounds, element by element, with u = kEpsilon<T>. Both sides start from the same rounded numbers; products
// of bf16 are exact in float. A kernel in bf16 rounds the weights of its second products, p and ds, and the
// result: every sum of terms t may be off by u sum|t| + u |result|. What float arithmetic adds is the same in
// both kernels: with f = kEpsilon<float> and S the largest sum |scale q k| of any score, a score is off by (E
// + 2) f S and so, as lse carries the like, p by a factor of 1 + r, r = (2 (E + 3) S + 2 keys + 16) f, exp2
// included; a further sum of n terms by n f sum|t|.
#include <algorithm>
#include <bit>
#include <cmath>
#include <string>
#include <vector>

#include "core/error.h"
#include "kernels/attention.h"
#include "kernels/attention_plan.h"
#include "kernels/cuda/paths.h"
#include "simt/twin.h"

namespace saslm {
namespace {

struct Shape {
  int64_t B = 1, T = 1, start = 0, H = 1, Hp = 1, Gk = 1, Gv = 1, v_modulo = 0, E = 8, D = 8;
  enum Layout { BTHD, BHTD, fused } layout = BTHD;  // fused: q, k and v of a token side by side, E = D
  int64_t window = 0;                               // 0: none
  int64_t documents = 0;  // the mask is given by positions: documents about so long; 0: it is not

  int64_t keys() const { return start + T; }
  int64_t k_head(int64_t h) const { return h / (H / Gk); }
  int64_t v_head(int64_t h) const { return v_modulo ? h % v_modulo / (v_modulo / Gv) : h / (H / Gv); }
  double scale() const { return 1 / std::sqrt(double(E)); }
  // The first key that position i of sequence b sees.
  int64_t first(int64_t b, int64_t i) const {
    int64_t first = window > 0 && i >= window ? i - window + 1 : 0;
    if (documents > 0)
      for (int64_t begin = 0, n = b; begin <= i; ++n) {
        first = std::max(first, begin);
        begin += 1 + (n * 7 + 18 * documents - 9) % (2 * documents);
      }
    return first;
  }
  std::string name() const {
    std::string text;
    for (int64_t x : {B, T, start, H, Hp, Gk, Gv, v_modulo, E, D, int64_t(layout), window, documents})
      text += " " + std::to_string(x);
    return "B T start H Hp Gk Gv v_modulo E D layout window documents =" + text;
  }
};

// One tensor (B, T, H, D) of both sides, and the bound of each of its elements when it is a result.
template <class T>
struct Tensor {
  Twin<T> twin;
  std::vector<double> bound;
  Shape::Layout layout;
  int64_t B, time, H, D;

  Tensor(Shape::Layout how, int64_t b, int64_t t, int64_t h, int64_t d)
      : twin(b * t * h * d), bound(size_t(b * t * h * d), 0), layout(how), B(b), time(t), H(h), D(d) {}

  template <class X>
  Heads<X> view(X* data) const {
    return layout == Shape::BHTD ? heads_BHTD(data, B, time, H, D) : heads_BTHD(data, B, time, H, D);
  }
  template <class S>
  Heads<S> heads() {
    return view(twin.template data<S>());
  }
  // `count` heads from the first one on.
  template <class S>
  Heads<S> heads(int64_t first, int64_t count) {
    Heads<S> all = heads<S>();
    all.data += first * all.h_stride, all.H = count;
    return all;
  }
  Heads<double> bounds(int64_t first, int64_t count) {
    Heads<double> all = view(bound.data());
    all.data += first * all.h_stride, all.H = count;
    return all;
  }
  void expect_within(const char* name) {
    TwinLog log(name, Twin<T>::kTypeName);
    for (int64_t i = 0; i < twin.size(); ++i) {
      const double got = double(float(twin[i])), want = twin.twin(i);
      const double allowed = bound[size_t(i)] + kEpsilon<T> * (std::abs(want) + bound[size_t(i)]);
      log.add(std::abs(got - want), allowed);
      ASSERT_LE(std::abs(got - want), allowed) << name << "[" << i << "]: got " << got << ", want " << want;
    }
  }
};

template <class T>
struct Case {
  Shape s;
  bool one;  // q, k and v are views of one tensor
  Tensor<T> q, k, v, dq, dk, dv, dy, o, y;
  Tensor<float> lse;
  Twin<float> scratch;
  Twin<int32_t> first_of, last_of;

  explicit Case(const Shape& shape)
      : s(shape),
        one(s.layout == Shape::fused),
        q(s.layout, s.B, s.T, one ? s.H + s.Gk + s.Gv : s.H, s.E),
        k(s.layout, s.B, one ? 1 : s.keys(), s.Gk, s.E),
        v(s.layout, s.B, one ? 1 : s.keys(), s.Gv, s.D),
        dq(s.layout, s.B, s.T, q.H, s.E),
        dk(s.layout, s.B, k.time, s.Gk, s.E),
        dv(s.layout, s.B, v.time, s.Gv, s.D),
        dy(Shape::BTHD, s.B, s.T, s.Hp, s.D),
        o(s.layout, s.B, s.T, s.H, s.D),
        y(Shape::BTHD, s.B, s.T, s.Hp, s.D),
        lse(Shape::BHTD, s.B, s.T, s.H, 1),
        scratch(attention_bwd_scratch<T>({.B = s.B,
                                          .T = s.T,
                                          .H = s.H,
                                          .Gk = s.Gk,
                                          .Gv = s.Gv,
                                          .v_modulo = s.v_modulo,
                                          .E = s.E,
                                          .D = s.D})),
        first_of(s.B * s.keys()),
        last_of(s.B * s.keys()) {
    q.twin.draw(1, 1.5), k.twin.draw(2, 1.5), v.twin.draw(3), dy.twin.draw(4);
    for (int64_t n = 0; n < s.B * s.keys(); ++n) {
      const int64_t b = n / s.keys(), at = n % s.keys();
      int64_t last = at;
      while (last + 1 < s.keys() && s.first(b, last + 1) <= at) ++last;
      first_of[n] = int32_t(s.first(b, at)), last_of[n] = int32_t(last);
    }
  }

  AttentionMask mask() {
    AttentionMask mask;
    if (s.window > 0) mask.window = int(s.window);
    if (s.documents > 0)
      mask.first_of = first_of.template mat<int32_t>(s.B, s.keys()),
      mask.last_of = last_of.template mat<int32_t>(s.B, s.keys());
    return mask;
  }

  template <class S>
  Heads<S> K(Tensor<T>& fused, Tensor<T>& own) {
    return one ? fused.template heads<S>(s.H, s.Gk) : own.template heads<S>();
  }
  template <class S>
  Heads<S> V(Tensor<T>& fused, Tensor<T>& own) {
    return one ? fused.template heads<S>(s.H + s.Gk, s.Gv) : own.template heads<S>();
  }

  template <class S>
  AttentionFwd<S> fwd() {
    return {.o = o.template heads<S>(),
            .lse = lse.twin.template vec<Accum<S>>(),
            .y = s.Hp < s.H ? y.template heads<S>() : Heads<S>{},
            .q = q.template heads<S>(0, s.H),
            .k = K<S>(q, k),
            .v = V<S>(q, v),
            .v_modulo = s.v_modulo,
            .start = s.start,
            .scale = s.scale(),
            .mask = mask()};
  }
  template <class S>
  AttentionBwd<S> bwd() {
    const auto gradients = [&]<class X>(X) -> Vec<X> {
      if constexpr (std::is_same_v<X, double>)
        return {};
      else
        return scratch.template vec<X>();
    };
    return {.dq = dq.template heads<S>(0, s.H),
            .dk = K<S>(dq, dk),
            .dv = V<S>(dq, dv),
            .dy = dy.template heads<S>(),
            .q = q.template heads<S>(0, s.H),
            .k = K<S>(q, k),
            .v = V<S>(q, v),
            .o = o.template heads<S>(),
            .lse = lse.twin.template vec<Accum<S>>(),
            .scratch = gradients(Accum<S>()),
            .v_modulo = s.v_modulo,
            .scale = s.scale(),
            .mask = mask()};
  }

  void poison() {
    for (Twin<T>* x : {&dq.twin, &dk.twin, &dv.twin, &o.twin, &y.twin}) x->poison();
    lse.twin.poison(), scratch.poison();
  }
  // The bounds, from sums of the sizes of all terms.
  void bound();
};

template <class T>
void Case<T>::bound() {
  const double f = kEpsilon<float>, u = std::is_same_v<T, float> ? 0 : kEpsilon<T>,
               share = double(s.Hp) / double(s.H);
  const Heads<double> qs = q.template heads<double>(0, s.H), ks = K<double>(q, k), vs = V<double>(q, v),
                      dys = dy.template heads<double>(), os = o.template heads<double>();
  const Heads<double> ob = o.bounds(0, s.H), yb = y.bounds(0, s.Hp), dqb = dq.bounds(0, s.H),
                      dkb = one ? dq.bounds(s.H, s.Gk) : dk.bounds(0, s.Gk),
                      dvb = one ? dq.bounds(s.H + s.Gk, s.Gv) : dv.bounds(0, s.Gv),
                      ls = lse.template heads<double>(), lb = lse.bounds(0, s.H);
  for (int64_t b = 0; b < s.B; ++b)
    for (int64_t h = 0; h < s.H; ++h)
      for (int64_t i = 0; i < s.T; ++i) {
        const int64_t g = s.k_head(h), w = s.v_head(h), seen = s.start + i + 1;
        const int64_t from = s.first(b, s.start + i);
        std::vector<double> scores(size_t(seen), 0);
        double S = 0, delta = 0, deltas = 0;
        for (int64_t j = from; j < seen; ++j) {
          double sizes = 0;
          for (int64_t e = 0; e < s.E; ++e) {
            const double term = s.scale() * qs.at(b, i, h)[e] * ks.at(b, j, g)[e];
            scores[size_t(j)] += term, sizes += std::abs(term);
          }
          S = std::max(S, sizes);
        }
        const double r = (2 * double(s.E + 3) * S + 2 * double(s.keys()) + 16) * f;
        *lb.at(b, i, h) = r;
        for (int64_t d = 0; d < s.D; ++d) {
          const double term = share * dys.at(b, i, h % s.Hp)[d] * os.at(b, i, h)[d];
          delta += term, deltas += std::abs(term);
        }
        for (int64_t j = from; j < seen; ++j) {
          const double p = std::exp(scores[size_t(j)] - *ls.at(b, i, h));
          double dp = 0, dps = 0;
          for (int64_t d = 0; d < s.D; ++d) {
            const double value = vs.at(b, j, w)[d], grad = share * dys.at(b, i, h % s.Hp)[d];
            dp += value * grad, dps += std::abs(value * grad);
            ob.at(b, i, h)[d] += (u + r + double(seen) * f) * p * std::abs(value);
            dvb.at(b, j, w)[d] += (u + r + double(s.T * s.H) * f) * p * std::abs(grad);
          }
          const double ds = s.scale() * p * std::abs(dp - delta);
          const double off =
              (u + r + double(s.T * s.H) * f) * ds + s.scale() * p * double(s.D + 4) * f * (dps + deltas);
          for (int64_t e = 0; e < s.E; ++e) {
            dqb.at(b, i, h)[e] += off * std::abs(ks.at(b, j, g)[e]);
            dkb.at(b, j, g)[e] += off * std::abs(qs.at(b, i, h)[e]);
          }
        }
        for (int64_t d = 0; d < s.D; ++d)
          yb.at(b, i, h % s.Hp)[d] +=
              share * (ob.at(b, i, h)[d] + (2 * u + double(s.H) * f) * std::abs(os.at(b, i, h)[d]));
      }
}

// bits of everything a kernel wrote, to compare schedules
template <class T>
void append_bits(std::vector<uint32_t>& bits, Twin<T>& x) {
  for (int64_t i = 0; i < x.size(); ++i)
    bits.push_back(std::bit_cast<std::conditional_t<sizeof(T) == 2, uint16_t, uint32_t>>(x[i]));
}

template <class T>
class SimtAttention : public ::testing::Test {};
using Types = ::testing::Types<float, bf16>;
TYPED_TEST_SUITE(SimtAttention, Types);

// Where shapes are large, one will do: the race detector sees what another order would bring.
constexpr auto every_schedule = simt::Schedules::every, one_schedule = simt::Schedules::one;
enum Directions { both, backward };

template <class T>
void expect_twin(const Shape& s, simt::Schedules schedules = every_schedule, Directions directions = both,
                 size_t shared_bytes = simt::kMaxSharedBytes) {
  SCOPED_TRACE(s.name() + ", " + std::to_string(shared_bytes) + " bytes of shared memory");
  Case<T> c(s);
  cpu::attention_fwd<double>({}, c.template fwd<double>());
  // Backward starts from what forward left, rounded, on both sides.
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

// Longer than two blocks of anything, no multiple of one.
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

// Splits of a unit, whose dq are added up, at the widths that IsItsTwinOverManyTiles leaves.
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

// Backward where the widest tiles do not fit: half the keys, over several of their blocks, in two splits.
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

// More units than blocks; units of one and of two heads, sharing k and v or v alone. Backward only.
TEST(SimtAttentionTiles, DealsOutUnits) {
  for (const Shape& s : std::vector<Shape>{
           {.B = 265}, {.B = 64, .T = 2, .H = 3, .Hp = 3}, {.B = 64, .T = 2, .H = 3, .Gk = 3, .v_modulo = 1}})
    expect_twin<bf16>(s, one_schedule, backward);
}

// Windows and documents: the mask's left edge within a tile, at its border, and tiles away from the diagonal;
// on every kernel, over shared heads, splits whose dq are added up, half the keys, and the cache.
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

// Splits that the window keeps from a dq; half the keys a block; the widest tiles.
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

// As models have them: sas at 12 channels of 36 heads, and sequences of 1024 and 2048.
TEST(SimtAttentionTiles, DISABLED_LargeShapesAreTheirTwins) {
  expect_twin<bf16>({.B = 2, .T = 300, .H = 36, .Hp = 12, .Gk = 36, .Gv = 36, .E = 96, .D = 64});
  expect_twin<bf16>({.T = 1024, .H = 4, .Hp = 2, .Gk = 4, .Gv = 2, .v_modulo = 2, .E = 96, .D = 64});
  expect_twin<bf16>({.T = 2048, .E = 96, .D = 64, .layout = Shape::BHTD});
  expect_twin<bf16>({.T = 1024, .H = 3, .Hp = 3, .Gk = 3, .Gv = 3, .E = 64, .D = 64, .layout = Shape::fused});
  expect_twin<bf16>({.T = 2048, .H = 2, .Hp = 2, .E = 64, .D = 64});
}

TEST(AttentionPlan, DealsEveryBlockOnceHeaviestFirst) {
  for (const int64_t heads : {1, 5, 64})
    for (const int64_t blocks : {1, 7})
      for (const int64_t section : {1, 2, 5, 64, 100}) {
        const AttentionFwdDeal deal(heads, blocks, AttentionFwdDeal::kSectionBytes / section);
        std::vector<int> dealt(size_t(heads * blocks), 0);
        for (int id = 0; id < int(deal.count()); ++id) {
          ++dealt.at(size_t(deal.head(id) * blocks + deal.block(id)));
          const bool same = id > 0 && deal.head(id) / deal.section == deal.head(id - 1) / deal.section;
          EXPECT_TRUE(!same || deal.block(id) <= deal.block(id - 1)) << id;
        }
        EXPECT_EQ(dealt, std::vector<int>(dealt.size(), 1)) << heads << " heads, sections of " << section;
      }
}

// In every shape: each head is in one unit, next to none but heads that it may share with, and each unit is
// read once for every k head, and once for every v head.
TEST(AttentionPlan, CoversEveryHeadOnce) {
  for (const int64_t B : {1, 3, 40, 200})
    for (const int64_t H : {1, 6, 12, 23})
      for (int64_t modulo = 0; modulo <= H; ++modulo)
        for (int64_t Gk = 1; Gk <= H; ++Gk)
          for (int64_t Gv = 1; Gv <= H; ++Gv) {
            if (H % Gk != 0 || (modulo > 0 && H % modulo != 0) || (modulo ? modulo : H) % Gv != 0) continue;
            const Shape s{.B = B, .T = 1, .H = H, .Hp = H, .Gk = Gk, .Gv = Gv, .v_modulo = modulo};
            const AttentionBwdPlan plan(
                {.B = B, .T = 1, .H = H, .Gk = Gk, .Gv = Gv, .v_modulo = modulo, .E = 8, .D = 8});
            std::vector<int> heads(size_t(H), 0);
            for (int64_t u = 0; u < plan.units_of_sequence; ++u)
              for (int64_t i = 0; i < plan.heads(u); ++i) {
                const int64_t h = plan.first_head(u) + i * plan.stride, first = plan.first_head(u);
                ++heads.at(size_t(h));
                EXPECT_EQ(s.v_head(h), s.v_head(first)) << s.name();
                EXPECT_TRUE(Gk == H || s.k_head(h) == s.k_head(first)) << s.name();
              }
            EXPECT_EQ(heads, std::vector<int>(size_t(H), 1)) << s.name();
            std::vector<int64_t> k_of, v_of, units;
            for (int64_t u = 0; u < plan.units_of_sequence; ++u) units.push_back(u);
            const auto check = [&](const AttentionBwdPlan::Readers& readers, int64_t groups, auto group_of) {
              std::vector<int64_t> read;
              for (int64_t g = 0; g < groups; ++g)
                for (int64_t i = 0; i < readers.count(); ++i) {
                  read.push_back(readers.unit(g, i));
                  EXPECT_EQ(group_of(plan.first_head(read.back())), g) << s.name();
                  const int64_t before = i > 0 ? readers.unit(g, i - 1) : -1;
                  EXPECT_GT(read.back(), before) << s.name();
                }
              std::sort(read.begin(), read.end());
              EXPECT_EQ(read, units) << s.name();
            };
            if (Gk < H) check(plan.k_readers(), Gk, [&](int64_t h) { return s.k_head(h); });
            if (Gv < H) check(plan.v_readers(), Gv, [&](int64_t h) { return s.v_head(h); });
          }
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
