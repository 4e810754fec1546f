// Lanes of a warp: shuffles, votes, divergence; warps of a block: barriers.
#include "ptx/machine/tests/fixture.h"

namespace ptx {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// shfl of 100 + lane; the result, plus 1000 where the predicate says that the source was in range
std::vector<uint32_t> shuffled(const std::string& mode, const std::string& operands) {
  return lanes_of("add.u32 %r1, %r0, 100; shfl.sync." + mode + ".b32 %r2|%p1, %r1, " + operands +
                  ", 0xffffffff; selp.u32 %r3, 1000, 0, %p1; add.u32 %r63, %r2, %r3;");
}

TEST(PtxShuffles, OfAWholeWarp) {
  const auto xored = shuffled("bfly", "1, 31"), up = shuffled("up", "1, 0"), down = shuffled("down", "2, 31");
  const auto index = shuffled("idx", "5, 31");
  for (uint32_t l = 0; l < 32; ++l) {
    EXPECT_EQ(xored[l], 1100 + (l ^ 1));
    EXPECT_EQ(up[l], l == 0 ? 100u : 1100 + l - 1);  // the first has none before it, and keeps its own
    EXPECT_EQ(down[l], l >= 30 ? 100 + l : 1100 + l + 2);
    EXPECT_EQ(index[l], 1105u);
  }
}

TEST(PtxShuffles, OfSegmentsOfEight) {
  // 0x18 in bits 8..12: lanes with equal upper bits; bits 0..4: the last lane of a segment (up: the first)
  const auto up = shuffled("up", "1, 0x1800"), down = shuffled("down", "1, 0x181f");
  const auto index = shuffled("idx", "2, 0x181f"), xored = shuffled("bfly", "8, 0x181f");
  for (uint32_t l = 0; l < 32; ++l) {
    EXPECT_EQ(up[l], l % 8 == 0 ? 100 + l : 1100 + l - 1);
    EXPECT_EQ(down[l], l % 8 == 7 ? 100 + l : 1100 + l + 1);
    EXPECT_EQ(index[l], 1100 + l / 8 * 8 + 2);
    EXPECT_EQ(xored[l], l & 8 ? 1100 + (l ^ 8) : 100 + l);  // across segments only downwards
  }
}

TEST(PtxShuffles, OfHalfAWarpThatHasDiverged) {
  const auto lanes = lanes_of(R"(
    mov.u32 %r63, 7;
    setp.ge.u32 %p1, %r0, 16;
    @%p1 bra DONE;
    shfl.sync.bfly.b32 %r63, %r0, 15, 31, 0xffff;
  DONE:)");
  EXPECT_EQ(lanes[0], 15u);
  EXPECT_EQ(lanes[15], 0u);
  EXPECT_EQ(lanes[16], 7u);
}

TEST(PtxVotes, OfTheLanesInTheMask) {
  const std::string set = "setp.lt.u32 %p1, %r0, 5; ";
  const std::string give = "selp.u32 %r63, 1, 0, %p2;";
  EXPECT_EQ(value_of(set + "vote.sync.ballot.b32 %r63, %p1, -1;"), 0x1fu);
  EXPECT_EQ(value_of(set + "vote.sync.ballot.b32 %r63, !%p1, -1;"), 0xffffffe0u);
  EXPECT_EQ(value_of(set + "vote.sync.any.pred %p2, %p1, -1;" + give), 1u);
  EXPECT_EQ(value_of(set + "vote.sync.all.pred %p2, %p1, -1;" + give), 0u);
  EXPECT_EQ(value_of(set + "vote.sync.uni.pred %p2, %p1, -1;" + give), 0u);
  EXPECT_EQ(value_of("setp.lt.u32 %p1, %r0, 32; vote.sync.all.pred %p2, %p1, -1;" + give), 1u);
}

TEST(PtxVotes, ReduceAndElect) {
  EXPECT_EQ(value_of("redux.sync.add.u32 %r63, %r0, -1;"), 496u);
  EXPECT_EQ(value_of("sub.s32 %r1, %r0, 3; redux.sync.min.s32 %r63, %r1, -1;"), uint32_t(-3));
  EXPECT_EQ(value_of("sub.s32 %r1, %r0, 3; redux.sync.min.u32 %r63, %r1, -1;"), 0u);
  const auto lanes = lanes_of("elect.sync %r1|%p1, -1; selp.u32 %r63, 1, 0, %p1;");
  EXPECT_EQ(lanes[0], 1u);
  EXPECT_EQ(lanes[1], 0u);
}

TEST(PtxDivergence, LanesPartAndMeetAgain) {
  const auto lanes = lanes_of(R"(
    setp.lt.u32 %p1, %r0, 10;
    @%p1 bra LOW;
    mov.u32 %r1, 1;
    bra MEET;
  LOW:
    mov.u32 %r1, 100;
  MEET:
    bar.warp.sync -1;
    redux.sync.add.u32 %r63, %r1, -1;)");
  EXPECT_EQ(lanes[0], 1022u);  // 10 * 100 + 22
  EXPECT_EQ(lanes[31], 1022u);
}

TEST(PtxDivergence, EachLaneLoopsAsOftenAsItMust) {
  const auto lanes = lanes_of(R"(
    mov.u32 %r1, 0; mov.u32 %r63, 0;
  AGAIN:
    setp.ge.u32 %p1, %r1, %r0;
    @%p1 bra DONE;
    add.u32 %r63, %r63, 3;
    add.u32 %r1, %r1, 1;
    bra AGAIN;
  DONE:)");
  for (uint32_t l = 0; l < 32; ++l) EXPECT_EQ(lanes[l], 3 * l);
}

TEST(PtxDivergence, GroupsWithMasksOfTheirOwnShareAnInstruction) {
  const auto lanes = lanes_of(R"(
    setp.lt.u32 %p1, %r0, 16;
    selp.b32 %r1, 0x0000ffff, 0xffff0000, %p1;
    redux.sync.add.u32 %r63, %r0, %r1;)");
  EXPECT_EQ(lanes[0], 120u);   // 0..15
  EXPECT_EQ(lanes[31], 376u);  // 16..31
}

// Each of 64 threads gives its number to its partner in the other warp.
const std::string kExchange = R"(
  .shared .align 4 .b8 buffer[256];
  mov.u32 %r1, buffer;
  mad.lo.u32 %r2, %r0, 4, %r1;
  xor.b32 %r3, %r0, 32;
  mad.lo.u32 %r4, %r3, 4, %r1;
  st.shared.u32 [%r2], %r0;
  bar.sync 0;
  ld.shared.u32 %r63, [%r4];)";

TEST(PtxBarriers, OrderWhatWarpsWriteAndRead) {
  const auto out = lanes_of(kExchange, {.threads = 64});
  for (uint32_t t = 0; t < 64; ++t) EXPECT_EQ(out[t], t ^ 32);
}

TEST(PtxBarriers, AnyScheduleGivesTheSameResults) {
  for (unsigned seed = 1; seed <= 4; ++seed) {
    Conditions s{.threads = 96, .blocks = 3};
    s.settings.schedule = seed;
    const auto out =
        lanes_of("bar.red.popc.u32 %r1, 0, %p1; mov.u32 %r2, %ctaid.x; add.u32 %r63, %r0, %r2;", s);
    for (uint32_t t = 0; t < 96; ++t) EXPECT_EQ(out[t + 192], t + 2);
  }
}

TEST(PtxBarriers, ReducePredicates) {
  const std::string set = "setp.lt.u32 %p1, %r0, 40; ";
  const Conditions two{.threads = 64};
  EXPECT_EQ(lanes_of(set + "bar.red.popc.u32 %r63, 0, %p1;", two)[63], 40u);
  EXPECT_EQ(lanes_of(set + "bar.red.popc.u32 %r63, 0, !%p1;", two)[0], 24u);
  EXPECT_EQ(lanes_of(set + "bar.red.and.pred %p2, 0, %p1; selp.u32 %r63, 1, 0, %p2;", two)[0], 0u);
  EXPECT_EQ(lanes_of(set + "bar.red.or.pred %p2, 0, %p1; selp.u32 %r63, 1, 0, %p2;", two)[63], 1u);
}

// Warp 0 writes and arrives without waiting; warp 1 waits and reads.
TEST(PtxBarriers, ArriveAndSyncOfNamedBarriersCountTheirThreads) {
  const auto out = lanes_of(R"(
    .shared .align 4 .b8 buffer[128];
    mov.u32 %r1, buffer;
    and.b32 %r2, %r0, 31;
    mad.lo.u32 %r3, %r2, 4, %r1;
    mov.u32 %r63, 0;
    setp.ge.u32 %p1, %r0, 32;
    @%p1 bra READER;
    st.shared.u32 [%r3], %r2;
    bar.arrive 3, 64;
    bra DONE;
  READER:
    bar.sync 3, 64;
    ld.shared.u32 %r63, [%r3];
  DONE:)",
                            {.threads = 64});
  EXPECT_EQ(out[33], 1u);
  EXPECT_EQ(out[63], 31u);
}

TEST(PtxBarriers, MbarriersOrderWhoArrivesBeforeWhoWaits) {
  const auto out = lanes_of(R"(
    .shared .align 4 .b32 word;
    .shared .align 8 .b64 ready;
    mov.u32 %r1, ready;
    setp.eq.u32 %p1, %r0, 0;
    @%p1 mbarrier.init.shared.b64 [%r1], 1;
    bar.sync 0;
    mov.u32 %r2, 55;
    @%p1 st.shared.u32 [word], %r2;
    @%p1 mbarrier.arrive.shared.b64 _, [%r1];
  WAIT:
    mbarrier.try_wait.parity.shared.b64 %p2, [%r1], 0;
    @!%p2 bra WAIT;
    bar.warp.sync -1;
    ld.shared.u32 %r63, [word];)",
                            {.threads = 64});
  EXPECT_EQ(out[0], 55u);
  EXPECT_EQ(out[63], 55u);
}

}  // namespace
}  // namespace ptx
