#include <gtest/gtest.h>

#include "ops/gpu_code.h"

namespace saslm {
namespace {

TEST(GpuCode, MachineCodeRunsOnItsMajorVersionFromItsMinorOneOn) {
  for (const int capability : {80, 86, 87, 89}) EXPECT_TRUE(has_code_for(capability, "sm_80")) << capability;
  for (const int capability : {90, 100, 120}) EXPECT_FALSE(has_code_for(capability, "sm_80")) << capability;
  EXPECT_FALSE(has_code_for(80, "sm_86"));
  EXPECT_TRUE(has_code_for(103, "sm_80 sm_100"));
  EXPECT_FALSE(has_code_for(120, "sm_80 sm_90 sm_100"));
  EXPECT_TRUE(has_code_for(121, "sm_100 sm_120"));
}

TEST(GpuCode, PtxRunsOnAllThatCameAfterIt) {
  for (const int capability : {80, 87, 90, 103, 110, 121, 200})
    EXPECT_TRUE(has_code_for(capability, "compute_80 sm_80")) << capability;
  EXPECT_FALSE(has_code_for(89, "compute_90"));
}

TEST(GpuCode, WithALetterItRunsOnThatCardAlone) {
  EXPECT_TRUE(has_code_for(90, "sm_90a"));
  EXPECT_FALSE(has_code_for(91, "sm_90a"));
  EXPECT_FALSE(has_code_for(100, "compute_90a"));
  EXPECT_FALSE(has_code_for(90, ""));
}

TEST(GpuCode, ARefusalNamesTheCardWhatThereIsAndTheRemedy) {
  EXPECT_EQ(no_code_for("NVIDIA B200", 100, "sm_80 sm_90"),
            "this build of saslm has no code for NVIDIA B200, of compute capability 10.0 (it has sm_80 "
            "sm_90); build it "
            "with -DSASLM_CUDA_ARCHITECTURES=100, or without that option for all cards that its nvcc knows");
}

}  // namespace
}  // namespace saslm
