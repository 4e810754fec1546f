// Loads, stores, state spaces, copies, calls; what is counted of them.
#include "ptx/machine/program/module.h"
#include "ptx/machine/tests/fixture.h"

namespace ptx {
namespace {

TEST(PtxMemory, VectorsAndSignsOfWhatIsLoaded) {
  const Conditions in{.threads = 1, .in = {0x8001fe7f, 2, 3, 4}};
  EXPECT_EQ(value_of("ld.global.v4.u32 {%r1, %r2, _, %r4}, [%rd1]; mad.lo.u32 %r63, %r2, 10, %r4;", in), 24u);
  EXPECT_EQ(value_of("ld.global.u8 %r63, [%rd1+1];", in), 0xfeu);
  EXPECT_EQ(value_of("ld.global.s8 %r63, [%rd1+1];", in), 0xfffffffeu);
  EXPECT_EQ(value_of("ld.global.s16 %r63, [%rd1+2];", in), 0xffff8001u);
  EXPECT_EQ(value_of("add.s64 %rd2, %rd1, 8; ld.global.u32 %r63, [%rd2+-4];", in), 2u);
}

TEST(PtxMemory, LocalMemoryIsOfOneLane) {
  const auto lanes = lanes_of(R"(
    .local .align 8 .b8 own[16];
    st.local.u32 [own+4], %r0;
    mov.u64 %rd2, own;
    cvta.local.u64 %rd3, %rd2;
    ld.u32 %r63, [%rd3+4];)");
  for (uint32_t l = 0; l < 32; ++l) EXPECT_EQ(lanes[l], l);
}

TEST(PtxMemory, GenericAddressesReachSharedMemory) {
  EXPECT_EQ(value_of(R"(
    .shared .align 16 .b8 buffer[64];
    mov.u64 %rd2, buffer;
    cvta.shared.u64 %rd3, %rd2;
    mov.u32 %r1, 77;
    st.u32 [%rd3+12], %r1;
    cvta.to.shared.u64 %rd4, %rd3;
    ld.shared.u32 %r63, [%rd4+12];)",
                     {.threads = 1}),
            77u);
}

TEST(PtxMemory, VariablesHaveTheirInitialValues) {
  const Conditions s{
      .threads = 1,
      .before = ".global .align 4 .u32 table[3] = {5, 6, 0x10};\n.const .f32 factor = 0f3f800000;\n"};
  EXPECT_EQ(value_of("ld.global.u32 %r63, [table+8];", s), 16u);
  EXPECT_EQ(value_of("ld.const.b32 %r63, [factor];", s), 0x3f800000u);
  EXPECT_EQ(value_of("mov.u64 %rd2, table; ld.global.u32 %r63, [%rd2+4];", s), 6u);
}

TEST(PtxMemory, DynamicSharedMemoryLiesBehindTheStatic) {
  const Conditions s{.threads = 1, .dynamic_shared = 32, .before = ".extern .shared .align 16 .b8 more[];\n"};
  EXPECT_EQ(value_of(R"(
    .shared .align 4 .b32 one;
    mov.u32 %r1, 1; mov.u32 %r2, 2;
    st.shared.u32 [one], %r1;
    st.shared.u32 [more+28], %r2;
    ld.shared.u32 %r3, [one]; ld.shared.u32 %r4, [more+28];
    mad.lo.u32 %r63, %r3, 10, %r4;)",
                     s),
            12u);
  EXPECT_EQ(value_of("mov.u32 %r63, %dynamic_smem_size; mov.u32 %r1, more;", s), 32u);
  EXPECT_THAT(run_body("ld.shared.u32 %r63, [more+32];", s).fault, testing::HasSubstr("is outside"));
}

TEST(PtxMemory, FunctionsTakeAndReturnParameters) {
  const Conditions s{.before = R"(
    .func (.param .b32 result) scaled(.param .b32 x, .param .b64 by) {
      .reg .b32 %a<4>; .reg .b64 %b<2>; .reg .pred %q;
      ld.param.u32 %a0, [x]; ld.param.u64 %b0, [by]; cvt.u32.u64 %a1, %b0;
      setp.lt.u32 %q, %a0, 4;
      @%q bra SMALL;
      mul.lo.u32 %a0, %a0, %a1;
    SMALL:
      st.param.b32 [result], %a0;
      ret;
    })"};
  const auto lanes = lanes_of(R"({
    .param .b32 r; .param .b32 a; .param .b64 b;
    st.param.b32 [a], %r0; mov.u64 %rd2, 100; st.param.b64 [b], %rd2;
    call.uni (r), scaled, (a, b);
    ld.param.b32 %r63, [r];
    })",
                              s);
  EXPECT_EQ(lanes[3], 3u);
  EXPECT_EQ(lanes[4], 400u);
  EXPECT_EQ(lanes[31], 3100u);
}

TEST(PtxMemory, BlocksKnowTheirPlace) {
  const auto out = lanes_of("mov.u32 %r1, %ctaid.x; mov.u32 %r2, %nctaid.x; mad.lo.u32 %r63, %r1, 100, %r2;",
                            {.threads = 32, .blocks = 3});
  EXPECT_EQ(out[0], 3u);
  EXPECT_EQ(out[95], 203u);
}

// 8 bytes are asked for; src-size 4: the rest is zero.
constexpr const char* kCopy = R"(
  .shared .align 16 .b8 buffer[64];
  mov.u32 %r1, buffer;
  cp.async.ca.shared.global [%r1], [%rd1], 8, 4;
  cp.async.commit_group;
  cp.async.wait_group 0;
  ld.shared.v2.u32 {%r2, %r3}, [buffer];
  mad.lo.u32 %r63, %r2, 10, %r3;)";

TEST(PtxCopies, FillWithZerosBeyondTheSourcesSize) {
  EXPECT_EQ(value_of(kCopy, {.threads = 1, .in = {7, 8}}), 70u);
}

constexpr const char* kSourceChanges = R"(
  .shared .align 16 .b8 buffer[64];
  mov.u32 %r1, buffer;
  cp.async.cg.shared.global [%r1], [%rd1], 16;
  cp.async.commit_group;
  mov.u32 %r2, 9;
  st.global.u32 [%rd1], %r2;
  cp.async.wait_all;
  ld.shared.u32 %r63, [buffer];)";

TEST(PtxCopies, ReadTheirSourceAtTheWaitOrAtTheIssue) {
  Conditions s{.threads = 1, .in = {7, 0, 0, 0}};
  EXPECT_EQ(value_of(kSourceChanges, s), 9u);
  s.settings.cp_async_late = false;
  EXPECT_EQ(value_of(kSourceChanges, s), 7u);
}

TEST(PtxCopies, GroupsEndTheOldestFirst) {
  const std::string two_groups = R"(
    .shared .align 16 .b8 buffer[64];
    mov.u32 %r1, buffer;
    cp.async.ca.shared.global [%r1], [%rd1], 4;
    cp.async.commit_group;
    cp.async.ca.shared.global [%r1+4], [%rd1+4], 4;
    cp.async.commit_group;
    cp.async.wait_group 1;)";
  EXPECT_EQ(value_of(two_groups + "ld.shared.u32 %r63, [buffer]; cp.async.wait_group 0;",
                     {.threads = 1, .in = {7, 8}}),
            7u);
  const Outcome early = run_body(two_groups + "ld.shared.u32 %r63, [buffer+4]; cp.async.wait_group 0;",
                                 {.threads = 1, .in = {7, 8}});
  EXPECT_THAT(early.findings, testing::ElementsAre("READ of a cp.async on its way"));
  EXPECT_EQ(early.out[0], 0xffffffffu);  // poison
}

TEST(PtxCopies, BulkCopiesCompleteTheirBytesAtAnMbarrier) {
  EXPECT_EQ(
      value_of(R"(
    .shared .align 16 .b8 buffer[64];
    .shared .align 8 .b64 done;
    mov.u32 %r1, buffer; mov.u32 %r2, done; mov.u32 %r3, 32;
    mbarrier.init.shared.b64 [%r2], 1;
    mbarrier.arrive.expect_tx.shared.b64 _, [%r2], 32;
    mbarrier.test_wait.parity.shared.b64 %p1, [%r2], 0;
    cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [table], %r3, [%r2];
    mbarrier.test_wait.parity.shared.b64 %p2, [%r2], 0;
    ld.shared.u32 %r4, [buffer+28];
    selp.u32 %r5, 100, 0, %p1; selp.u32 %r6, 10, 0, %p2;
    add.u32 %r7, %r5, %r6; add.u32 %r63, %r7, %r4;)",
               {.threads = 1, .before = ".global .align 16 .u32 table[8] = {0, 1, 2, 3, 4, 5, 6, 7};\n"}),
      17u);  // not over before, over after, and the last word
}

TEST(PtxCounts, BankConflictsAreWavefrontsBeyondTheLeast) {
  Conditions s;
  s.settings.conflicts = true;
  s.settings.uninitialised = false;
  const auto conflicts = [&](int stride) {
    const std::string by = std::to_string(stride);
    return run_body(".shared .align 16 .b8 buffer[8192]; mov.u32 %r1, buffer; mad.lo.u32 %r2, %r0, " + by +
                        ", %r1; ld.shared.u32 %r63, [%r2];",
                    s)
        .profile.conflicts;
  };
  EXPECT_EQ(conflicts(4), 0u);
  EXPECT_EQ(conflicts(8), 1u);     // two words of each second bank
  EXPECT_EQ(conflicts(128), 31u);  // all in one bank
  EXPECT_EQ(conflicts(0), 0u);     // one word for all
}

TEST(PtxCounts, SectorsAndInstructionsByClass) {
  Conditions s{.before = ".global .align 128 .b8 buffer[8192];\n"};
  s.settings.conflicts = true;
  const auto sectors = [&](int stride) {
    const std::string body = "mov.u64 %rd2, buffer; mul.wide.u32 %rd3, %r0, " + std::to_string(stride) +
                             "; add.s64 %rd4, %rd2, %rd3; ld.global.u32 %r63, [%rd4];";
    return run_body(body, s).profile;
  };
  const Profile near = sectors(4), far = sectors(32);
  EXPECT_EQ(far.sectors - near.sectors, 28u);  // 32 and 4
  EXPECT_EQ(near.counts[size_t(Class::ld_global)], 1u);
  EXPECT_EQ(near.counts[size_t(Class::st_global)], 1u);
}

TEST(PtxMutants, ChangeOnePlaceOrAll) {
  std::string text = "add add add";
  Changed c = mutate(text, {"add", "sub", 1});
  EXPECT_EQ(text, "add sub add");
  EXPECT_EQ(c.places, 3);
  EXPECT_EQ(c.changed, 1);
  c = mutate(text, {"add", "adder", std::nullopt});
  EXPECT_EQ(text, "adder sub adder");
  EXPECT_EQ(c.changed, 2);
}

}  // namespace
}  // namespace ptx
