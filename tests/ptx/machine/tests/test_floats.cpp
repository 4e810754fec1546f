// Floating point and conversions: every result worked out by hand.
#include <cmath>

#include "ptx/machine/tests/fixture.h"

namespace ptx {
namespace {

std::string f32(const char* reg, float v) {
  return std::string("mov.f32 ") + reg + ", " + bits(v) + "; ";
}
std::string f64(const char* reg, double v) {
  return std::string("mov.f64 ") + reg + ", " + bits(v) + "; ";
}
std::string two(float a, float b) {
  return f32("%f1", a) + f32("%f2", b);
}

TEST(PtxFloats, RoundToTheNearestEven) {
  EXPECT_EQ(float_of(two(1, 0x1p-24f) + "add.f32 %f15, %f1, %f2;"), 1.0f);                // a tie
  EXPECT_EQ(float_of(two(1, 0x3p-24f) + "add.rn.f32 %f15, %f1, %f2;"), 1.0f + 0x1p-22f);  // a tie, upwards
  EXPECT_EQ(float_of(two(1, 3) + "div.rn.f32 %f15, %f1, %f2;"), 0x1.555556p-2f);
  EXPECT_EQ(double_of(f64("%d1", 1) + f64("%d2", 0x1p-53) + "add.f64 %d7, %d1, %d2;"), 1.0);
}

TEST(PtxFloats, FmaRoundsOnceAndByItsMode) {
  const float a = 1 + 0x1p-12f, c = -(1 + 0x1p-11f);  // a * a = 1 + 2^-11 + 2^-24
  const std::string abc = two(a, a) + f32("%f3", c);
  EXPECT_EQ(float_of(abc + "fma.rn.f32 %f15, %f1, %f2, %f3;"), 0x1p-24f);
  EXPECT_EQ(float_of(abc + "mul.f32 %f4, %f1, %f2; add.f32 %f15, %f4, %f3;"), 0.0f);
  const std::string up = two(1, 0x1p-24f) + f32("%f3", 1), down = two(-1, 0x1p-24f) + f32("%f3", -1);
  EXPECT_EQ(float_of(up + "fma.rp.f32 %f15, %f1, %f2, %f3;"), 1 + 0x1p-23f);
  EXPECT_EQ(float_of(up + "fma.rm.f32 %f15, %f1, %f2, %f3;"), 1.0f);
  EXPECT_EQ(float_of(down + "fma.rm.f32 %f15, %f1, %f2, %f3;"), -(1 + 0x1p-23f));
  EXPECT_EQ(float_of(down + "fma.rz.f32 %f15, %f1, %f2, %f3;"), -1.0f);
}

TEST(PtxFloats, SubnormalsAreKeptAndFlushedOnlyByFtz) {
  EXPECT_EQ(float_of(two(0x1p-100f, 0x1p-40f) + "mul.f32 %f15, %f1, %f2;"), 0x1p-140f);
  EXPECT_EQ(float_of(f32("%f1", -140) + "ex2.approx.f32 %f15, %f1;"), 0x1p-140f);
  EXPECT_EQ(float_of(f32("%f1", -140) + "ex2.approx.ftz.f32 %f15, %f1;"), 0.0f);
  EXPECT_EQ(float_of(f32("%f1", 0x1p-140f) + "lg2.approx.f32 %f15, %f1;"), -140.0f);
  EXPECT_EQ(float_of(f32("%f1", 0x1p-140f) + "lg2.approx.ftz.f32 %f15, %f1;"), -INFINITY);
}

TEST(PtxFloats, MinAndMaxOfNanAndOfZeros) {
  EXPECT_EQ(float_of(two(NAN, 2) + "min.f32 %f15, %f1, %f2;"), 2.0f);
  EXPECT_EQ(float_of(two(2, NAN) + "max.f32 %f15, %f1, %f2;"), 2.0f);
  EXPECT_TRUE(std::signbit(float_of(two(0.0f, -0.0f) + "min.f32 %f15, %f1, %f2;")));
  EXPECT_FALSE(std::signbit(float_of(two(-0.0f, 0.0f) + "max.f32 %f15, %f1, %f2;")));
}

TEST(PtxFloats, CopysignGivesTheSecondTheSignOfTheFirst) {
  EXPECT_EQ(float_of(two(-1, 2) + "copysign.f32 %f15, %f1, %f2;"), -2.0f);
  EXPECT_EQ(float_of(two(1, -2) + "copysign.f32 %f15, %f1, %f2;"), 2.0f);
  EXPECT_TRUE(std::signbit(float_of(two(-0.0f, 0.0f) + "copysign.f32 %f15, %f1, %f2;")));
}

TEST(PtxFloats, ApproximationsOfExactValues) {
  EXPECT_EQ(float_of(f32("%f1", 3) + "ex2.approx.ftz.f32 %f15, %f1;"), 8.0f);
  EXPECT_EQ(float_of(f32("%f1", 8) + "lg2.approx.f32 %f15, %f1;"), 3.0f);
  EXPECT_EQ(float_of(f32("%f1", 4) + "rcp.approx.f32 %f15, %f1;"), 0.25f);
  EXPECT_EQ(float_of(f32("%f1", 4) + "rsqrt.approx.f32 %f15, %f1;"), 0.5f);
  EXPECT_EQ(float_of(f32("%f1", 2) + "sqrt.rn.f32 %f15, %f1;"), 0x1.6a09e6p+0f);
  EXPECT_EQ(double_of(f64("%d1", 3) + "rcp.approx.ftz.f64 %d7, %d1;"),
            0x1.55555p-2);  // the low 32 bits are zero
}

TEST(PtxFloats, RoughApproximationsAreOffByUpToTwoUnits) {
  Conditions rough;
  rough.settings.rough = 7;
  const std::string body =
      "cvt.rn.f32.u32 %f1, %r0; mul.f32 %f1, %f1, 0f3d000000; ex2.approx.f32 %f2, %f1; "
      "mov.b32 %r63, %f2;";  // 2^(lane / 32)
  const auto exact = lanes_of(body), off = lanes_of(body, rough);
  int differ = 0;
  for (size_t l = 0; l < 32; ++l) {
    EXPECT_LE(std::abs(int(off[l]) - int(exact[l])), 2) << "lane " << l;
    differ += off[l] != exact[l];
  }
  EXPECT_GT(differ, 8);
  EXPECT_EQ(off, lanes_of(body, rough));
}

TEST(PtxFloats, ComparisonsWithNan) {
  const auto holds = [](const std::string& name, float a, float b) {
    return value_of(two(a, b) + "setp." + name + ".f32 %p1, %f1, %f2; selp.u32 %r63, 1, 0, %p1;") == 1;
  };
  EXPECT_FALSE(holds("lt", 1, NAN));
  EXPECT_FALSE(holds("ne", NAN, NAN));
  EXPECT_TRUE(holds("neu", NAN, 1));
  EXPECT_TRUE(holds("ltu", NAN, 1));
  EXPECT_FALSE(holds("ltu", 2, 1));
  EXPECT_TRUE(holds("nan", NAN, 1));
  EXPECT_TRUE(holds("num", 1, 2));
  EXPECT_TRUE(holds("equ", NAN, 1));
}

TEST(PtxPacked, HalvesAreSeparateAndRoundOnce) {
  // upper 2, lower 1; upper 0.25, lower 0.5
  const std::string ab = "mov.u32 %r1, 0x40003f80; mov.u32 %r2, 0x3e803f00; ";
  EXPECT_EQ(value_of(ab + "add.rn.bf16x2 %r63, %r1, %r2;"), 0x40103fc0u);
  EXPECT_EQ(value_of(ab + "mul.rn.bf16x2 %r63, %r1, %r2;"), 0x3f003f00u);
  EXPECT_EQ(value_of(ab + "sub.rn.bf16x2 %r63, %r1, %r2;"), 0x3fe03f00u);
  EXPECT_EQ(value_of(ab + "min.bf16x2 %r63, %r1, %r2;"), 0x3e803f00u);
  // (1 + 2^-7)^2 - (1 + 2^-6) = 2^-14
  EXPECT_EQ(value_of("mov.u32 %r1, 0x3f813f81; mov.u32 %r2, 0xbf82bf82; fma.rn.bf16x2 %r63, %r1, %r1, %r2;"),
            0x38803880u);
}

uint32_t to_pair(float a, float b, const std::string& how) {
  return value_of(two(a, b) + "cvt." + how + ".f32 %r63, %f1, %f2;");
}

TEST(PtxConversions, PairsHaveTheFirstSourceInTheUpperHalf) {
  EXPECT_EQ(to_pair(1, 2, "rn.bf16x2"), 0x3f804000u);
  EXPECT_EQ(to_pair(-1, 2, "rn.relu.bf16x2"), 0x00004000u);
  EXPECT_EQ(to_pair(1 + 0x1p-8f, 1 + 0x3p-8f, "rn.bf16x2"), 0x3f803f82u);  // ties to even
  EXPECT_EQ(to_pair(NAN, -0.0f, "rn.bf16x2"), 0x7fff8000u);
  EXPECT_EQ(to_pair(1, -2, "rn.f16x2"), 0x3c00c000u);
  EXPECT_EQ(to_pair(-1, 1, "rn.relu.f16x2"), 0x00003c00u);
}

TEST(PtxConversions, HalvesOfFloats) {
  EXPECT_EQ(to_pair(65519, 65520, "rn.f16x2"), 0x7bff7c00u);                // the largest; half way beyond
  EXPECT_EQ(to_pair(0x1p-24f, 0x1p-25f, "rn.f16x2"), 0x00010000u);          // the least; a tie with zero
  EXPECT_EQ(to_pair(0x1.8p-24f, -0x1.ff8p-15f, "rn.f16x2"), 0x000283ffu);   // subnormals
  EXPECT_EQ(to_pair(0x1.ffep-15f, 1 + 0x1p-11f, "rn.f16x2"), 0x04003c00u);  // up to the least normal; a tie
  EXPECT_EQ(float_of("mov.b16 %h1, 0x3555; cvt.f32.f16 %f15, %h1;"), 0x1.554p-2f);
  EXPECT_EQ(float_of("mov.b16 %h1, 0x8003; cvt.f32.f16 %f15, %h1;"), -0x3p-24f);
  EXPECT_EQ(float_of("mov.b16 %h1, 0xbfc0; cvt.f32.bf16 %f15, %h1;"), -1.5f);
  EXPECT_EQ(value_of(f32("%f1", -1.5f) + "cvt.rn.bf16.f32 %h1, %f1; mov.b32 %r63, {%h1, 0};"), 0xbfc0u);
}

uint32_t to_integer(float v, const std::string& how) {
  return value_of(f32("%f1", v) + "cvt." + how + ".f32 %r63, %f1;");
}

TEST(PtxConversions, FloatsToIntegersRoundAndClamp) {
  EXPECT_EQ(to_integer(-2.7f, "rzi.s32"), uint32_t(-2));
  EXPECT_EQ(to_integer(2.5f, "rni.s32"), 2u);
  EXPECT_EQ(to_integer(3.5f, "rni.s32"), 4u);
  EXPECT_EQ(to_integer(-2.1f, "rmi.s32"), uint32_t(-3));
  EXPECT_EQ(to_integer(2.1f, "rpi.s32"), 3u);
  EXPECT_EQ(to_integer(3e9f, "rzi.s32"), 0x7fffffffu);
  EXPECT_EQ(to_integer(-3e9f, "rzi.s32"), 0x80000000u);
  EXPECT_EQ(to_integer(3e9f, "rzi.u32"), 3000000000u);
  EXPECT_EQ(to_integer(-1, "rzi.u32"), 0u);
  EXPECT_EQ(to_integer(NAN, "rzi.s32"), 0u);
  EXPECT_EQ(to_integer(300, "rzi.u8"), 255u);
}

TEST(PtxConversions, IntegersToIntegersCutOffExtendAndSaturate) {
  EXPECT_EQ(value_of("mov.u32 %r1, 300; cvt.u8.s32 %r63, %r1;"), 44u);
  EXPECT_EQ(value_of("mov.u32 %r1, 300; cvt.sat.u8.s32 %r63, %r1;"), 255u);
  EXPECT_EQ(value_of("mov.u32 %r1, -300; cvt.sat.s8.s32 %r63, %r1;"), uint32_t(-128));
  EXPECT_EQ(value_of("mov.u32 %r1, 0x1ff; cvt.s32.s8 %r63, %r1;"), 0xffffffffu);
  EXPECT_EQ(value64_of("mov.u32 %r1, -2; cvt.s64.s32 %rd31, %r1;"), uint64_t(-2));
  EXPECT_EQ(value64_of("mov.u32 %r1, -2; cvt.u64.u32 %rd31, %r1;"), 0xfffffffeu);
  EXPECT_EQ(value_of("mov.u64 %rd2, 0x123456789abcdef0; cvt.u32.u64 %r63, %rd2;"), 0x9abcdef0u);
}

TEST(PtxConversions, IntegersToFloatsRoundByTheirMode) {
  const std::string odd = "mov.u32 %r1, 16777217; ";  // 2^24 + 1: between two floats
  EXPECT_EQ(float_of(odd + "cvt.rn.f32.u32 %f15, %r1;"), 16777216.0f);
  EXPECT_EQ(float_of(odd + "cvt.rp.f32.u32 %f15, %r1;"), 16777218.0f);
  EXPECT_EQ(float_of(odd + "cvt.rz.f32.u32 %f15, %r1;"), 16777216.0f);
  EXPECT_EQ(float_of("mov.u32 %r1, -3; cvt.rn.f32.s32 %f15, %r1;"), -3.0f);
  EXPECT_EQ(float_of("mov.u64 %rd2, 0xffffffffffffffff; cvt.rz.f32.u64 %f15, %rd2;"), 0x1.fffffep+63f);
}

TEST(PtxConversions, FloatsToFloats) {
  const std::string d = f64("%d1", 1 + 0x1p-24 + 0x1p-50);
  EXPECT_EQ(float_of(d + "cvt.rn.f32.f64 %f15, %d1;"), 1 + 0x1p-23f);
  EXPECT_EQ(float_of(d + "cvt.rz.f32.f64 %f15, %d1;"), 1.0f);
  EXPECT_EQ(double_of(f32("%f1", 0.1f) + "cvt.f64.f32 %d7, %f1;"), double(0.1f));
  EXPECT_EQ(float_of(f32("%f1", 1.5f) + "cvt.sat.f32.f32 %f15, %f1;"), 1.0f);
  EXPECT_EQ(float_of(f32("%f1", NAN) + "cvt.sat.f32.f32 %f15, %f1;"), 0.0f);
  EXPECT_EQ(float_of(f32("%f1", 2.5f) + "cvt.rni.f32.f32 %f15, %f1;"), 2.0f);
}

}  // namespace
}  // namespace ptx
