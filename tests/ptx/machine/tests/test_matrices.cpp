// Fragments of matrices: which lane holds which element, worked out from the ISA's figures.
#include <bit>

#include "ptx/machine/tests/fixture.h"

namespace ptx {
namespace {

uint32_t bf16_of(uint32_t small) {
  return std::bit_cast<uint32_t>(float(small)) >> 16;
}  // exact up to 256
uint32_t pair(uint32_t low, uint32_t high) {
  return bf16_of(low) | bf16_of(high) << 16;
}

// Matrix j of 8 x 8 in shared memory, element (r, c) = 64 j + 8 r + c; lane l gives the address of row l.
const std::string kMatrices = R"(
  .shared .align 16 .b8 matrices[512];
  mov.u32 %r1, matrices;
  mad.lo.u32 %r2, %r0, 16, %r1;
  mul.lo.u32 %r3, %r0, 8;
  mul.lo.u32 %r4, %r3, 0x10001;
  add.u32 %r5, %r4, 0x10000; add.u32 %r6, %r4, 0x30002; add.u32 %r7, %r4, 0x50004; add.u32 %r8, %r4, 0x70006;
  st.shared.v4.u32 [%r2], {%r5, %r6, %r7, %r8};
  bar.warp.sync -1;
)";

TEST(PtxMatrices, LdmatrixDealsOutRowsInPairs) {
  for (uint32_t j = 0; j < 4; ++j) {
    const auto lanes =
        lanes_of(kMatrices + "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r10, %r11, %r12, %r13}, [%r2];" +
                 "mov.u32 %r63, %r1" + std::to_string(j) + ";");
    for (uint32_t l = 0; l < 32; ++l) {
      const uint32_t first = 64 * j + 8 * (l / 4) + 2 * (l % 4);
      EXPECT_EQ(lanes[l], first | (first + 1) << 16) << "matrix " << j << " lane " << l;
    }
  }
}

TEST(PtxMatrices, LdmatrixTransDealsOutColumns) {
  const auto lanes =
      lanes_of(kMatrices + "ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%r10, %r63}, [%r2];");
  for (uint32_t l = 0; l < 32; ++l) {
    const uint32_t first = 64 + 8 * (2 * (l % 4)) + l / 4;  // (2t, g), and (2t + 1, g) one row on
    EXPECT_EQ(lanes[l], first | (first + 8) << 16);
  }
}

TEST(PtxMatrices, StmatrixIsTheReverse) {
  const auto lanes = lanes_of(kMatrices + R"(
    ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%r10}, [%r2];
    bar.warp.sync -1;
    stmatrix.sync.aligned.m8n8.x1.trans.shared.b16 [%r2+0], {%r10};
    bar.warp.sync -1;
    mov.u32 %r9, matrices;
    mad.lo.u32 %r2, %r0, 4, %r9;
    ld.shared.u32 %r63, [%r2];)");
  for (uint32_t l = 0; l < 32; ++l) EXPECT_EQ(lanes[l], 2 * l | (2 * l + 1) << 16);
}

// Registers of a lane: A is 1 on its diagonal and 2 in the rest of column 0; B (k, n) = 8 k + n.
struct Fragments {
  std::vector<uint32_t> words;  // 6 a lane: a0..a3, b0, b1
};

Fragments fragments() {
  Fragments f;
  const auto a = [](uint32_t row, uint32_t col) { return row == col ? 1u : col == 0 ? 2u : 0u; };
  const auto b = [](uint32_t row, uint32_t col) { return 8 * row + col; };
  for (uint32_t l = 0; l < 32; ++l) {
    const uint32_t g = l / 4, t = 2 * (l % 4);
    f.words.insert(f.words.end(), {pair(a(g, t), a(g, t + 1)), pair(a(g + 8, t), a(g + 8, t + 1)),
                                   pair(a(g, t + 8), a(g, t + 9)), pair(a(g + 8, t + 8), a(g + 8, t + 9)),
                                   pair(b(t, g), b(t + 1, g)), pair(b(t + 8, g), b(t + 9, g))});
  }
  return f;
}

const std::string kLoadFragments = R"(
  mul.wide.u32 %rd2, %r0, 24;
  add.s64 %rd3, %rd1, %rd2;
  ld.global.v2.u32 {%r1, %r2}, [%rd3];
  ld.global.v2.u32 {%r3, %r4}, [%rd3+8];
  ld.global.v2.u32 {%r5, %r6}, [%rd3+16];
  mov.f32 %f1, 0f42c80000;)";  // C: 100

TEST(PtxMatrices, MmaMultipliesFragments) {
  for (const unsigned rough : {0u, 3u})  // small integers: nothing is cut off
    for (uint32_t i = 0; i < 4; ++i) {
      Conditions s{.in = fragments().words};
      s.settings.rough = rough;
      const auto lanes =
          lanes_of(kLoadFragments +
                       "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f2, %f3, %f4, %f5}, "
                       "{%r1, %r2, %r3, %r4}, {%r5, %r6}, {%f1, %f1, %f1, %f1}; mov.b32 %r63, %f" +
                       std::to_string(2 + i) + ";",
                   s);
      for (uint32_t l = 0; l < 32; ++l) {
        const uint32_t row = l / 4 + 8 * (i / 2), col = 2 * (l % 4) + i % 2;
        const uint32_t wanted = 100 + 8 * row + col + (row > 0 ? 2 * col : 0);
        EXPECT_EQ(std::bit_cast<float>(lanes[l]), float(wanted)) << "d" << i << " lane " << l;
      }
    }
}

TEST(PtxMatrices, MmaOfDepthEightTakesHalfOfTheRegisters) {
  const auto lanes = lanes_of(kLoadFragments +
                                  "mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%f2, %f3, %f4, %f5}, "
                                  "{%r1, %r2}, {%r5}, {%f1, %f1, %f1, %f1}; mov.b32 %r63, %f4;",
                              {.in = fragments().words});
  for (uint32_t l = 0; l < 32; ++l)  // rows 8 and more have no diagonal in columns 0..7
    EXPECT_EQ(std::bit_cast<float>(lanes[l]), float(100 + 2 * (2 * (l % 4))));
}

TEST(PtxMatrices, RoughMmaCutsOffWhatTensorCoresDo) {
  // 2^24 + 1 - 2^24, in one group of eight products: one is below the unit of the greatest, and is cut to a
  // half unit
  std::vector<uint32_t> words(192, 0);
  words[0] = 0x3f80u | 0x3f80u << 16;                                     // lane 0: A (0, 0), (0, 1) = 1
  words[4] = 0x4b80u | 0x3f00u << 16;                                     // B (0, 0) = 2^24, B (1, 0) = 0.5
  const std::string mma = kLoadFragments + "mov.f32 %f1, 0fcb800000; " +  // C: -2^24
                          "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f2, %f3, %f4, %f5}, "
                          "{%r1, %r2, %r3, %r4}, {%r5, %r6}, {%f1, %f1, %f1, %f1}; mov.b32 %r63, %f2;";
  Conditions s{.in = words};
  EXPECT_EQ(std::bit_cast<float>(value_of(mma, s)), 0.5f);
  s.settings.rough = 1;
  EXPECT_EQ(std::bit_cast<float>(value_of(mma, s)), 0.0f);
}

// A (m, k) = 1 where k = m % 16, B (n, k) = 16 n + k: D (m, n) = 16 n + m % 16. Both K-major without swizzle:
// 8 rows of 16 bytes are a core matrix; the next k is 128 bytes on, the next rows 256.
TEST(PtxMatrices, WgmmaReadsSharedMemoryByItsDescriptors) {
  const auto lanes = lanes_of(R"(
    .shared .align 128 .b8 a[2048];
    .shared .align 128 .b8 b[256];
    mov.u32 %r1, a; mov.u32 %r2, b;
    mov.u32 %r3, 0;
  FILL:
    mad.lo.u32 %r4, %r3, 128, %r0;
    shr.u32 %r5, %r4, 4; and.b32 %r6, %r4, 15;
    shr.u32 %r7, %r5, 3; and.b32 %r8, %r5, 7; shr.u32 %r9, %r6, 3; and.b32 %r10, %r6, 7;
    mul.lo.u32 %r11, %r7, 256; mad.lo.u32 %r11, %r8, 16, %r11; mad.lo.u32 %r11, %r9, 128, %r11;
    mad.lo.u32 %r11, %r10, 2, %r11;
    and.b32 %r12, %r5, 15; setp.eq.u32 %p1, %r12, %r6;
    selp.b32 %r13, 0x3f80, 0, %p1;
    add.u32 %r14, %r1, %r11; cvt.u16.u32 %h1, %r13; st.shared.b16 [%r14], %h1;
    setp.lt.u32 %p2, %r4, 128;
    cvt.rn.f32.u32 %f1, %r4; cvt.rn.bf16.f32 %h2, %f1;
    add.u32 %r15, %r2, %r11;
    @%p2 st.shared.b16 [%r15], %h2;
    add.u32 %r3, %r3, 1;
    setp.lt.u32 %p3, %r3, 8;
    @%p3 bra FILL;
    bar.sync 0;
    mov.u64 %rd4, 0x0000001000080000;
    shr.u32 %r16, %r1, 4; cvt.u64.u32 %rd5, %r16; or.b64 %rd6, %rd4, %rd5;
    shr.u32 %r17, %r2, 4; cvt.u64.u32 %rd7, %r17; or.b64 %rd8, %rd4, %rd7;
    setp.ne.u32 %p4, %r0, %r0;
    wgmma.fence.sync.aligned;
    wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%f2, %f3, %f4, %f5}, %rd6, %rd8, %p4, 1, 1, 0, 0;
    wgmma.commit_group.sync.aligned;
    wgmma.wait_group.sync.aligned 0;
    mov.b32 %r63, %f5;)",
                              {.threads = 128});
  for (uint32_t t = 0; t < 128; ++t) {
    const uint32_t row = t / 32 * 16 + t % 32 / 4 + 8, col = 2 * (t % 4) + 1;
    EXPECT_EQ(std::bit_cast<float>(lanes[t]), float(16 * col + row % 16)) << "thread " << t;
  }
}

}  // namespace
}  // namespace ptx
