#include <gtest/gtest.h>

#include "train/gpu_peak.h"

namespace saslm {
namespace {

TEST(GpuPeak, IsKnownByTheNamesThatCudaGives) {
  EXPECT_EQ(dense_bf16_tflops("NVIDIA A100-SXM4-80GB"), 312);
  EXPECT_EQ(dense_bf16_tflops("NVIDIA A100 80GB PCIe"), 312);
  EXPECT_EQ(dense_bf16_tflops("NVIDIA H100 80GB HBM3"), 989.4);
  EXPECT_EQ(dense_bf16_tflops("NVIDIA H100 PCIe"), 756);
  EXPECT_EQ(dense_bf16_tflops("NVIDIA H200"), 989.4);
  EXPECT_EQ(dense_bf16_tflops("NVIDIA H20"), 148);
  EXPECT_EQ(dense_bf16_tflops("NVIDIA L40S"), 362);
  EXPECT_EQ(dense_bf16_tflops("NVIDIA B200"), 2250);
  EXPECT_EQ(dense_bf16_tflops("NVIDIA GeForce RTX 4090"), 165.2);
}

TEST(GpuPeak, OfOtherCardsAndOfPartsNoneIsKnown) {
  for (const char* name :
       {"", "NVIDIA", "NVIDIA GeForce RTX 4090 Laptop GPU", "NVIDIA GeForce RTX 4090 D", "NVIDIA RTX A1000",
        "NVIDIA A100-SXM4-40GB MIG 1g.5gb", "GRID A100-10C", "Tesla T4"})
    EXPECT_EQ(dense_bf16_tflops(name), std::nullopt) << name;
}

TEST(GpuPeak, WhatIsGivenComesFirst) {
  const Platform h200{.gpu = "NVIDIA H200"}, other{.gpu = "NVIDIA Z1"};
  EXPECT_EQ(peak_of({}, h200, true).tflops, 989.4);
  EXPECT_EQ(peak_of({}, h200, true).from, "the data sheet of NVIDIA H200, dense bf16");
  EXPECT_EQ(peak_of({.peak_tflops = 7}, h200, true).tflops, 7);
  EXPECT_EQ(peak_of({.peak_tflops = 7}, h200, true).from, "runtime.peak_tflops");
  EXPECT_EQ(peak_of({}, h200, false).tflops, 0);
  EXPECT_EQ(peak_of({}, other, true).tflops, 0);
  EXPECT_EQ(peak_of({}, other, true).from,
            "the peak of NVIDIA Z1 is not known; runtime.peak_tflops says it, in TFLOP/s of one GPU");
  EXPECT_EQ(peak_of({}, Platform(), true).from, "");
}

TEST(Mfu, IsOfAllRanksTogether) {
  const Peak peak{.tflops = 2, .from = ""};
  EXPECT_EQ(mfu_of(1e6, 1e6, peak, 1), 0.5);
  EXPECT_EQ(mfu_of(1e6, 1e6, peak, 4), 0.125);
  EXPECT_EQ(mfu_of(1e6, 1e6, Peak(), 1), std::nullopt);
}

}  // namespace
}  // namespace saslm
