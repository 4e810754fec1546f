// Integers and bits, each result worked out by hand from the PTX ISA.
#include "ptx/machine/tests/fixture.h"

namespace ptx {
namespace {

TEST(PtxIntegers, WrapAroundAndCompareBySign) {
  EXPECT_EQ(value_of("mov.u32 %r1, 0xffffffff; add.u32 %r63, %r1, 3;"), 2u);
  EXPECT_EQ(value_of("mov.u32 %r1, 2; sub.s32 %r63, %r1, 5;"), uint32_t(-3));
  EXPECT_EQ(value_of("mov.u32 %r1, -7; min.s32 %r63, %r1, 3;"), uint32_t(-7));
  EXPECT_EQ(value_of("mov.u32 %r1, -7; min.u32 %r63, %r1, 3;"), 3u);
  EXPECT_EQ(value_of("mov.u32 %r1, 0x80000000; neg.s32 %r63, %r1;"), 0x80000000u);
  EXPECT_EQ(value_of("mov.u32 %r1, -7; abs.s32 %r63, %r1;"), 7u);
}

TEST(PtxIntegers, DivideTowardsZero) {
  EXPECT_EQ(value_of("mov.u32 %r1, -7; div.s32 %r63, %r1, 2;"), uint32_t(-3));
  EXPECT_EQ(value_of("mov.u32 %r1, -7; rem.s32 %r63, %r1, 2;"), uint32_t(-1));
  EXPECT_EQ(value_of("mov.u32 %r1, 7; mov.u32 %r2, 0; div.u32 %r63, %r1, %r2;"), 0xffffffffu);
  EXPECT_EQ(value_of("mov.u32 %r1, 0x80000000; div.s32 %r63, %r1, -1;"), 0x80000000u);
}

TEST(PtxIntegers, MultiplyLowHighAndWide) {
  EXPECT_EQ(value_of("mov.u32 %r1, 0x10001; mul.lo.u32 %r63, %r1, %r1;"), 0x00020001u);
  EXPECT_EQ(value_of("mov.u32 %r1, 0x10001; mul.hi.u32 %r63, %r1, %r1;"), 1u);
  EXPECT_EQ(value_of("mov.u32 %r1, -2; mul.hi.s32 %r63, %r1, 3;"), 0xffffffffu);  // -6
  EXPECT_EQ(value_of("mov.u32 %r1, -2; mul.hi.u32 %r63, %r1, 3;"), 2u);           // 3 * 2^32 - 6
  EXPECT_EQ(value64_of("mov.u32 %r1, -2; mov.u32 %r2, 3; mul.wide.s32 %rd31, %r1, %r2;"), uint64_t(-6));
  EXPECT_EQ(value64_of("mov.u32 %r1, -2; mov.u64 %rd2, 10; mad.wide.s32 %rd31, %r1, 3, %rd2;"), 4u);
  EXPECT_EQ(value64_of("mov.u32 %r1, -2; mov.u64 %rd2, 10; mad.wide.u32 %rd31, %r1, 3, %rd2;"), 0x300000004u);
  EXPECT_EQ(value_of("mov.u32 %r1, 5; mad.lo.s32 %r63, %r1, -3, 1;"), uint32_t(-14));
}

TEST(PtxIntegers, CarryFromWordToWord) {
  const std::string sum = R"(
    mov.u32 %r1, 0xffffffff; mov.u32 %r2, 1;
    add.cc.u32 %r3, %r1, 1;
    addc.cc.u32 %r4, %r1, %r2;
    addc.u32 %r5, %r2, %r2;)";
  EXPECT_EQ(value_of(sum + "mov.u32 %r63, %r3;"), 0u);
  EXPECT_EQ(value_of(sum + "mov.u32 %r63, %r4;"), 1u);
  EXPECT_EQ(value_of(sum + "mov.u32 %r63, %r5;"), 3u);
  EXPECT_EQ(value_of("mov.u32 %r1, 0; sub.cc.u32 %r2, %r1, 1; subc.u32 %r63, 5, 2;"), 2u);  // 5 - 2 - borrow
  EXPECT_EQ(
      value_of("mov.u32 %r1, 0x80000000; mad.lo.cc.u32 %r2, %r1, 1, %r1; madc.hi.u32 %r63, %r1, 4, 10;"),
      13u);
}

TEST(PtxBits, ShiftsBeyondTheWidth) {
  EXPECT_EQ(value_of("mov.u32 %r1, 1; mov.u32 %r2, 32; shl.b32 %r63, %r1, %r2;"), 0u);
  EXPECT_EQ(value_of("mov.u32 %r1, -8; shr.s32 %r63, %r1, 1;"), uint32_t(-4));
  EXPECT_EQ(value_of("mov.u32 %r1, -8; mov.u32 %r2, 40; shr.s32 %r63, %r1, %r2;"), 0xffffffffu);
  EXPECT_EQ(value_of("mov.u32 %r1, -8; shr.u32 %r63, %r1, 28;"), 15u);
  // {b, a} = 0x89abcdef01234567, left by 8: the upper word; wrap takes 40 as 8, clamp as 32
  EXPECT_EQ(value_of("mov.u32 %r1, 0x01234567; mov.u32 %r2, 0x89abcdef; shf.l.wrap.b32 %r63, %r1, %r2, 40;"),
            0xabcdef01u);
  EXPECT_EQ(value_of("mov.u32 %r1, 0x01234567; mov.u32 %r2, 0x89abcdef; shf.r.clamp.b32 %r63, %r1, %r2, 40;"),
            0x89abcdefu);
}

TEST(PtxBits, PermuteTakesBytesAndTheirSigns) {
  const std::string words = "mov.u32 %r1, 0x44332211; mov.u32 %r2, 0x88776655;";
  EXPECT_EQ(value_of(words + "prmt.b32 %r63, %r1, %r2, 0x5410;"), 0x66552211u);
  EXPECT_EQ(value_of(words + "prmt.b32 %r63, %r1, %r2, 0x7632;"), 0x88774433u);
  EXPECT_EQ(value_of(words + "prmt.b32 %r63, %r1, %r2, 0xf80f;"),
            0xff0011ffu);  // signs of 0x88 and 0x11; 0x11
}

TEST(PtxBits, Lop3LooksUpTheTable) {
  const std::string words = "mov.u32 %r1, 0xf0; mov.u32 %r2, 0xcc; mov.u32 %r3, 0xaa;";
  for (const uint32_t table :
       {0x80u, 0xfeu, 0x96u, 0xcau, 0x1bu})  // with these words the table is the result
    EXPECT_EQ(value_of(words + "lop3.b32 %r4, %r1, %r2, %r3, " + std::to_string(table) +
                       "; and.b32 %r63, %r4, 255;"),
              table);
}

TEST(PtxBits, FieldsAreCutOutAndPutIn) {
  EXPECT_EQ(value_of("mov.u32 %r1, 0xabcdef12; bfe.u32 %r63, %r1, 8, 12;"), 0xdefu);
  EXPECT_EQ(value_of("mov.u32 %r1, 0xabcdef12; bfe.s32 %r63, %r1, 8, 12;"), 0xfffffdefu);
  EXPECT_EQ(value_of("mov.u32 %r1, 0xabcdef12; bfe.u32 %r63, %r1, 24, 32;"), 0xabu);
  EXPECT_EQ(value_of("mov.u32 %r1, 0xabcdef12; bfe.s32 %r63, %r1, 24, 32;"), 0xffffffabu);
  EXPECT_EQ(value_of("mov.u32 %r1, 0xabcdef12; bfe.s32 %r63, %r1, 8, 0;"), 0u);
  EXPECT_EQ(value_of("mov.u32 %r1, 0x5; mov.u32 %r2, 0xffffffff; bfi.b32 %r63, %r1, %r2, 4, 8;"),
            0xfffff05fu);
  EXPECT_EQ(value_of("mov.u32 %r1, 0x5; mov.u32 %r2, 0; bfi.b32 %r63, %r1, %r2, 30, 8;"), 0x40000000u);
}

TEST(PtxBits, Counts) {
  EXPECT_EQ(value_of("mov.u32 %r1, 0xf0f0; popc.b32 %r63, %r1;"), 8u);
  EXPECT_EQ(value_of("mov.u32 %r1, 0x00008000; clz.b32 %r63, %r1;"), 16u);
  EXPECT_EQ(value_of("mov.u32 %r1, 0; clz.b32 %r63, %r1;"), 32u);
  EXPECT_EQ(value_of("mov.u64 %rd2, 1; clz.b64 %r63, %rd2;"), 63u);
  EXPECT_EQ(value_of("mov.u32 %r1, 0x00000013; brev.b32 %r63, %r1;"), 0xc8000000u);
}

TEST(PtxMoves, PackAndUnpackFromTheLowestPart) {
  EXPECT_EQ(value64_of("mov.u32 %r1, 0x11; mov.u32 %r2, 0x22; mov.b64 %rd31, {%r1, %r2};"), 0x2200000011u);
  EXPECT_EQ(value_of("mov.u32 %r1, 0x11223344; mov.b32 {%h1, %h2}, %r1; mov.b32 %r63, {%h2, %h1};"),
            0x33441122u);
}

TEST(PtxPredicates, CompareWithLogicAndGiveTheComplement) {
  const std::string set = "mov.u32 %r1, 3; setp.lt.u32 %p1, %r1, 2;";  // false
  EXPECT_EQ(value_of(set + "setp.gt.and.u32 %p2|%p3, %r1, 1, %p1; selp.u32 %r63, 1, 0, %p2;"), 0u);
  EXPECT_EQ(value_of(set + "setp.gt.and.u32 %p2|%p3, %r1, 1, !%p1; selp.u32 %r63, 1, 0, %p2;"), 1u);
  EXPECT_EQ(value_of(set + "setp.gt.or.u32 %p2|%p3, %r1, 5, !%p1; selp.u32 %r63, 1, 0, %p3;"), 1u);
  EXPECT_EQ(value_of("mov.u32 %r1, -1; setp.lt.s32 %p1, %r1, 0; selp.u32 %r63, 7, 8, %p1;"), 7u);
  EXPECT_EQ(value_of("mov.u32 %r1, -1; setp.lt.u32 %p1, %r1, 0; selp.u32 %r63, 7, 8, %p1;"), 8u);
  EXPECT_EQ(value_of("mov.u32 %r1, 4; set.eq.u32.u32 %r63, %r1, 4;"), 0xffffffffu);
}

TEST(PtxPredicates, GuardAnInstruction) {
  const auto lanes =
      lanes_of("mov.u32 %r63, 0; setp.ge.u32 %p1, %r0, 30; @%p1 mov.u32 %r63, 5; @!%p1 mov.u32 %r63, 6;");
  EXPECT_EQ(lanes[29], 6u);
  EXPECT_EQ(lanes[30], 5u);
}

TEST(PtxIntegers, AtomicsTakeLanesOneAfterAnother) {
  const auto lanes = lanes_of(R"(
    .shared .align 4 .b32 sum;
    mov.u32 %r1, 100;
    setp.eq.u32 %p1, %r0, 0;
    @%p1 st.shared.u32 [sum], %r1;
    bar.sync 0;
    atom.shared.add.u32 %r63, [sum], 2;)");
  for (uint32_t l = 0; l < 32; ++l) EXPECT_EQ(lanes[l], 100 + 2 * l);
  EXPECT_EQ(value_of("atom.global.cas.b32 %r2, [%rd1], 7, 9; ld.global.u32 %r63, [%rd1];",
                     {.threads = 1, .in = {7}}),
            9u);
  EXPECT_EQ(value_of("atom.global.cas.b32 %r2, [%rd1], 8, 9; ld.global.u32 %r63, [%rd1];",
                     {.threads = 1, .in = {7}}),
            7u);
  EXPECT_EQ(
      value_of("atom.global.inc.u32 %r2, [%rd1], 7; ld.global.u32 %r63, [%rd1];", {.threads = 1, .in = {7}}),
      0u);
}

}  // namespace
}  // namespace ptx
