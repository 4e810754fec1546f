// Wrong kernels: each must be found, and named as what it is.
#include "ptx/machine/tests/fixture.h"

namespace ptx {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string fault_of(const std::string& body, const Conditions& conditions = {}) {
  return run_body(body, conditions).fault;
}

// `out` has 32 + 64 words.
TEST(PtxFaults, GlobalMemoryOutOfBounds) {
  EXPECT_EQ(fault_of("ld.global.u32 %r63, [%rd0+380];"), "");
  EXPECT_THAT(fault_of("ld.global.u32 %r63, [%rd0+384];"),
              HasSubstr("out of bounds: global read of 4 bytes"));
  EXPECT_THAT(fault_of("st.global.u32 [%rd0+-4], %r0;"), HasSubstr("out of bounds: global write of 4 bytes"));
  EXPECT_THAT(fault_of("mov.u64 %rd2, 0; ld.u32 %r63, [%rd2+-4];"), HasSubstr("out of bounds"));
  EXPECT_THAT(fault_of("ld.global.v4.u32 {%r1, %r2, %r3, %r63}, [%rd0+384];"), HasSubstr("out of bounds"));
  EXPECT_THAT(fault_of("setp.eq.u32 %p1, %r0, 9; @%p1 ld.global.u32 %r63, [%rd0+800];"),
              AllOf(HasSubstr("by thread 9 of block (0, 0, 0)"), HasSubstr("800 bytes into a block of 384")));
}

TEST(PtxFaults, CopiesOutOfBounds) {
  const std::string to = ".shared .align 16 .b8 buffer[16]; mov.u32 %r1, buffer; ";
  const Conditions s{.threads = 1, .in = std::vector<uint32_t>(4)};
  EXPECT_EQ(fault_of(to + "cp.async.cg.shared.global [%r1], [%rd1], 16; cp.async.wait_all;", s), "");
  EXPECT_THAT(fault_of(to + "cp.async.cg.shared.global [%r1], [%rd1+16], 16;", s),
              HasSubstr("out of bounds"));
  EXPECT_EQ(fault_of(to + "cp.async.cg.shared.global [%r1], [%rd1+16], 16, 0; cp.async.wait_all;", s), "");
  EXPECT_THAT(fault_of(to + "cp.async.cg.shared.global [%r1+16], [%rd1], 16;", s), HasSubstr("is outside"));
  EXPECT_THAT(fault_of(to + "cp.async.ca.shared.global [%r1], [%rd1+2], 4;", s), HasSubstr("misaligned"));
  EXPECT_THAT(fault_of(to + "cp.async.ca.shared.global [%r1], [%rd1], 4, 5;", s), HasSubstr("src-size of 5"));
}

TEST(PtxFaults, SharedAndLocalMemoryOutside) {
  const std::string variables = ".shared .align 4 .b8 buffer[64]; .local .align 8 .b8 own[16]; ";
  EXPECT_THAT(fault_of(variables + "st.shared.u32 [buffer+64], %r0;"), HasSubstr("is outside"));
  EXPECT_THAT(fault_of(variables + "mov.u32 %r1, 0; ld.shared.u32 %r63, [%r1];"), HasSubstr("is outside"));
  EXPECT_THAT(fault_of(variables + "mov.u32 %r1, -4; ld.shared.u32 %r63, [%r1];"), HasSubstr("is outside"));
  EXPECT_THAT(fault_of(variables + "ld.local.u32 %r63, [own+4096];"), HasSubstr("outside of local memory"));
  EXPECT_THAT(fault_of("mov.b64 %rd2, out; cvta.param.u64 %rd3, %rd2; st.u64 [%rd3], %rd0;"),
              HasSubstr("read only"));
}

TEST(PtxFaults, MisalignedAddresses) {
  EXPECT_THAT(fault_of("ld.global.u32 %r63, [%rd0+2];"), HasSubstr("misaligned access of 4 bytes at global"));
  EXPECT_THAT(fault_of("ld.global.v2.u32 {%r1, %r63}, [%rd0+4];"), HasSubstr("misaligned access of 8 bytes"));
  EXPECT_THAT(fault_of(".shared .align 4 .b8 buffer[64]; st.shared.u32 [buffer+1], %r0;"),
              HasSubstr("misaligned"));
}

const std::string kTwoWords = R"(
  .shared .align 4 .b8 buffer[256];
  mov.u32 %r1, buffer; mad.lo.u32 %r2, %r0, 4, %r1; xor.b32 %r3, %r0, 32; mad.lo.u32 %r4, %r3, 4, %r1; )";
const Conditions kTwoWarps{.threads = 64};

TEST(PtxRaces, BetweenWarpsWithoutABarrier) {
  const auto findings = [&](const std::string& body) {
    return run_body(kTwoWords + body, kTwoWarps).findings;
  };
  EXPECT_THAT(findings("st.shared.u32 [%r2], %r0; bar.sync 0; ld.shared.u32 %r63, [%r4];"), IsEmpty());
  EXPECT_THAT(findings("st.shared.u32 [%r2], %r0; ld.shared.u32 %r63, [%r4];"),
              Contains("RACE read after write"));
  EXPECT_THAT(
      findings("st.shared.u32 [%r2], %r0; bar.sync 0; ld.shared.u32 %r63, [%r4]; st.shared.u32 [%r2], %r0;"),
      Contains("RACE write after read"));
  EXPECT_THAT(findings("st.shared.u32 [%r2], %r0; st.shared.u32 [%r4], %r0;"),
              Contains("RACE write after write"));
  EXPECT_THAT(findings("st.shared.u32 [%r2], %r0; bar.sync 0; st.shared.u32 [%r4], %r0;"), IsEmpty());
}

TEST(PtxRaces, NameBothThreads) {
  const Outcome o = run_body(kTwoWords + "st.shared.u32 [%r2], %r0; ld.shared.u32 %r63, [%r4];", kTwoWarps);
  EXPECT_THAT(o.details,
              Contains(AllOf(HasSubstr("thread 32 and thread 0"), HasSubstr("ld.shared.u32 %r63"))));
}

TEST(PtxRaces, WithinAWarpWithoutAWarpBarrier) {
  const std::string partner = R"(
    .shared .align 4 .b8 buffer[128];
    mov.u32 %r1, buffer; mad.lo.u32 %r2, %r0, 4, %r1; xor.b32 %r3, %r0, 1; mad.lo.u32 %r4, %r3, 4, %r1;
    st.shared.u32 [%r2], %r0; )";
  const std::string read = "ld.shared.u32 %r63, [%r4];";
  EXPECT_THAT(run_body(partner + "bar.warp.sync -1; " + read).findings, IsEmpty());
  EXPECT_THAT(run_body(partner + read).findings, ElementsAre("RACE read after write"));
  EXPECT_THAT(run_body(partner + "shfl.sync.bfly.b32 %r5, %r0, 1, 31, -1; " + read).findings,
              ElementsAre("RACE read after write"));  // a shuffle orders no memory
}

TEST(PtxRaces, ABarrierOfOthersOrdersNothing) {
  EXPECT_THAT(run_body(kTwoWords + R"(
    st.shared.u32 [%r2], %r0;
    setp.ge.u32 %p1, %r0, 32;
    @%p1 bra SECOND;
    bar.sync 1, 32;
    bra DONE;
  SECOND:
    bar.sync 2, 32;
  DONE:
    ld.shared.u32 %r63, [%r4];)",
                       kTwoWarps)
                  .findings,
              Contains("RACE read after write"));
}

TEST(PtxRaces, OfGlobalMemoryInABlockAndBetweenBlocks) {
  const auto findings = [](const std::string& body, const Conditions& s) {
    return run_body(body, s).findings;
  };
  EXPECT_THAT(
      findings("ld.global.u32 %r63, [%rd1]; setp.eq.u32 %p1, %r0, 40; @%p1 st.global.u32 [%rd1], %r0;",
               kTwoWarps),
      Contains("GLOBAL RACE in a block: write after read"));
  const Conditions blocks{.threads = 1, .blocks = 2};
  EXPECT_THAT(findings("mov.u32 %r63, 0; st.global.u32 [%rd1], %r0;", blocks),
              ElementsAre("GLOBAL RACE between blocks: write after write"));
  EXPECT_THAT(findings("red.global.add.u32 [%rd1], 1; mov.u32 %r63, 0;", blocks), IsEmpty());
}

TEST(PtxChecks, SharedMemoryThatNobodyWrote) {
  const std::string body = ".shared .align 4 .b8 buffer[64]; ld.shared.u32 %r63, [buffer+8];";
  const Outcome o = run_body(body);
  EXPECT_THAT(o.findings, ElementsAre("UNINITIALISED shared memory read"));
  EXPECT_EQ(o.out[0], 0xffffffffu);
  Conditions unchecked;
  unchecked.settings.uninitialised = false;
  EXPECT_THAT(run_body(body, unchecked).findings, IsEmpty());
}

TEST(PtxChecks, CopiesOnTheirWay) {
  const std::string copy = R"(
    .shared .align 16 .b8 buffer[64];
    mov.u32 %r1, buffer;
    cp.async.ca.shared.global [%r1], [%rd1], 4;
    cp.async.commit_group; )";
  const Conditions one{.threads = 1};
  EXPECT_THAT(run_body(copy + "ld.shared.u32 %r63, [buffer]; cp.async.wait_all;", one).findings,
              ElementsAre("READ of a cp.async on its way"));
  EXPECT_THAT(run_body(copy + "st.shared.u32 [buffer], %r1; cp.async.wait_all;", one).findings,
              ElementsAre("WRITE into a cp.async on its way"));
  EXPECT_THAT(run_body(copy, one).findings, ElementsAre("NOTE cp.async never waited for"));
}

TEST(PtxChecks, ACopyIsVisibleToOthersOnlyAfterABarrier) {
  const std::string copy = R"(
    .shared .align 16 .b8 buffer[64];
    mov.u32 %r1, buffer;
    setp.eq.u32 %p1, %r0, 0;
    @%p1 cp.async.ca.shared.global [%r1], [%rd1], 4;
    cp.async.wait_all; )";
  EXPECT_THAT(run_body(copy + "bar.sync 0; ld.shared.u32 %r63, [buffer];", kTwoWarps).findings, IsEmpty());
  EXPECT_THAT(run_body(copy + "ld.shared.u32 %r63, [buffer];", kTwoWarps).findings,
              Contains("RACE read after write"));
}

TEST(PtxChecks, ShufflesFromLanesThatTakeNoPart) {
  EXPECT_THAT(run_body(R"(
    setp.ge.u32 %p1, %r0, 16;
    @%p1 bra DONE;
    shfl.sync.bfly.b32 %r63, %r0, 16, 31, 0xffff;
  DONE:)")
                  .findings,
              ElementsAre("SHFL from a lane that does not take part"));
}

TEST(PtxChecks, MasksThatDoNotNameTheirOwnLane) {
  EXPECT_THAT(run_body("redux.sync.add.u32 %r63, %r0, 0x7fffffff;").findings,
              Contains("SYNC by a lane that its mask does not name"));
}

TEST(PtxChecks, SynchronisationAfterAnExit) {
  const std::string half_exits = "setp.ge.u32 %p1, %r0, 16; @%p1 exit; ";
  EXPECT_THAT(run_body(half_exits + "bar.warp.sync -1; mov.u32 %r63, 0;").findings,
              ElementsAre("SYNC names lanes that have exited"));
  EXPECT_THAT(run_body(half_exits + "bar.sync 0; mov.u32 %r63, 0;").findings,
              ElementsAre("BARRIER while threads of the warp have exited"));
  EXPECT_THAT(
      run_body("setp.ge.u32 %p1, %r0, 32; @%p1 exit; bar.sync 0; mov.u32 %r63, 0;", kTwoWarps).findings,
      ElementsAre("BARRIER of the block while threads have exited"));
}

TEST(PtxFaults, LanesThatCanNeverMeet) {
  EXPECT_THAT(fault_of(R"(
    setp.ge.u32 %p1, %r0, 16;
    @%p1 bra SECOND;
    bar.warp.sync -1;
    bra DONE;
  SECOND:
    bar.warp.sync -1;
  DONE:)"),
              HasSubstr("wait at different synchronising instructions"));
}

TEST(PtxFaults, WarpsThatWaitForEachOtherForEver) {
  EXPECT_THAT(
      fault_of(R"(
    setp.ge.u32 %p1, %r0, 32;
    @%p1 bra SECOND;
    bar.sync 1, 64;
  SECOND:
    bar.sync 2, 64;)",
               kTwoWarps),
      AllOf(HasSubstr("deadlock"), HasSubstr("warp 0 at barrier 1"), HasSubstr("warp 1 at barrier 2")));
}

TEST(PtxFaults, BarriersThatDoNotFit) {
  EXPECT_THAT(fault_of("bar.sync 1, 96;", kTwoWarps), HasSubstr("more threads than the block has"));
  EXPECT_THAT(fault_of("bar.sync 1, 33;", kTwoWarps), HasSubstr("barrier of 33 threads"));
  EXPECT_THAT(fault_of("mov.u32 %r1, 16; bar.sync %r1;"), HasSubstr("barrier 16"));
  EXPECT_THAT(fault_of("and.b32 %r1, %r0, 1; bar.sync %r1;"), HasSubstr("differ between lanes"));
  EXPECT_THAT(run_body(R"(
    setp.ge.u32 %p1, %r0, 32;
    @%p1 bra SECOND;
    bar.sync 1, 64;
    bra DONE;
  SECOND:
    bar.sync 1, 32;
  DONE:)",
                       kTwoWarps)
                  .findings,
              Contains("BARRIER with other numbers of threads"));
}

TEST(PtxFaults, Mbarriers) {
  const std::string init = ".shared .align 8 .b64 b; mov.u32 %r1, b; mbarrier.init.shared.b64 [%r1], 1; ";
  const Conditions one{.threads = 1};
  EXPECT_THAT(fault_of(".shared .align 8 .b64 b; mov.u32 %r1, b; mbarrier.arrive.shared.b64 _, [%r1];"),
              HasSubstr("no mbarrier"));
  EXPECT_THAT(run_body(init + "mbarrier.arrive.shared.b64 _, [%r1], 2;", one).findings,
              ElementsAre("MBARRIER: more arrivals than expected"));
  Conditions limited = one;
  limited.settings.max_steps = 1000;
  EXPECT_THAT(fault_of(init + "W: mbarrier.try_wait.parity.shared.b64 %p1, [%r1], 0; @!%p1 bra W;", limited),
              HasSubstr("more than 1000 steps"));
}

TEST(PtxFaults, TrapsAndLaunchesThatDoNotFit) {
  EXPECT_THAT(fault_of("setp.eq.u32 %p1, %r0, 3; @%p1 trap;"), HasSubstr("trap at PTX line"));
  EXPECT_THAT(fault_of("mov.u32 %r63, 0;", {.threads = 1025}), HasSubstr("1025 threads"));
  EXPECT_THAT(fault_of("mov.u32 %r63, 0;", {.dynamic_shared = 228 * 1024}), HasSubstr("227 KiB"));
}

TEST(PtxUnknown, InstructionsAreNamed) {
  const auto named = [](const std::string& op, const std::string& operands) {
    EXPECT_THAT(decoding_error(op + " " + operands + ";"), AllOf(HasSubstr("PTX line"), HasSubstr(op)));
  };
  named("frobnicate.b32", "%r1, %r2");
  named("add.ftz.f32", "%f1, %f2, %f3");
  named("add.sat.s32", "%r1, %r2, %r3");
  named("mul.rz.f32", "%f1, %f2, %f3");
  named("fma.rn.relu.bf16x2", "%r1, %r2, %r3, %r4");
  named("max.NaN.f32", "%f1, %f2, %f3");
  named("cvt.rz.bf16.f32", "%h1, %f1");
  named("cvt.rna.tf32.f32", "%r1, %f1");
  named("prmt.b32.f4e", "%r1, %r2, %r3, %r4");
  named("shfl.sync.around.b32", "%r1, %r2, %r3, %r4, -1");
  named("redux.sync.mean.u32", "%r1, %r2, -1");
  named("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32", "{%r1}, {%r2}, {%r3}, {%r4}");
  named("atom.global.and.f32", "%f1, [%rd0], %f2");
  named("st.async.shared.b32", "[%r1], %r2, [%r3]");
}

TEST(PtxUnknown, NamesAndOperandsAreNamed) {
  EXPECT_THAT(decoding_error("mov.u32 %r1, %nosuch;"), HasSubstr("%nosuch"));
  EXPECT_THAT(decoding_error("mov.u32 %r1, %rd1;"), HasSubstr("another width"));
  EXPECT_THAT(decoding_error("add.u32 %r1, %r2;"), HasSubstr("too few operands"));
  EXPECT_THAT(decoding_error("add.u32 %r1, %r2, %r3, %r4;"), HasSubstr("other number of operands"));
  EXPECT_THAT(decoding_error("bra NOWHERE;"), HasSubstr("unknown label"));
  EXPECT_THAT(decoding_error("mov.f32 %f1, 1.5;"), HasSubstr("decimal floating-point literal"));
  EXPECT_THAT(decoding_error("call.uni absent;"), HasSubstr("no such function"));
  EXPECT_THAT(decoding_error("@%r1 mov.u32 %r1, 0;"), HasSubstr("guard is not a predicate"));
  EXPECT_THAT(decoding_error("ld.global.v2.u32 {%r1, %r2, %r3}, [%rd0];"),
              HasSubstr("vector of another length"));
  EXPECT_THAT(decoding_error(".nosuch .b32 %x;"), HasSubstr("unknown directive"));
}

}  // namespace
}  // namespace ptx
