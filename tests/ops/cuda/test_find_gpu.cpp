// find_gpu.cpp over a CUDA runtime that says what a test wants: which cards and drivers are refused, and how.
#include <cuda_runtime_api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "core/error.h"
#include "kernels/cuda/any_kernel.h"
#include "ops/ops.h"

namespace {

struct Machine {
  cudaError_t count_error = cudaSuccess, kernel_error = cudaSuccess;
  int count = 1, major = 9, minor = 0;
  int used = -1, asked = 0;
} machine;

const char kKernel = 0;

}  // namespace

extern "C" {
cudaError_t cudaGetDeviceCount(int* count) {
  *count = machine.count;
  return machine.count_error;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  std::strcpy(properties->name, "NVIDIA X");
  properties->major = machine.major, properties->minor = machine.minor;
  properties->totalGlobalMem = 5;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int ordinal) {
  machine.used = ordinal;
  return cudaSuccess;
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes*, const void* kernel) {
  if (kernel == &kKernel) ++machine.asked;
  return machine.kernel_error;
}
const char* cudaGetErrorString(cudaError_t) {
  return "its words";
}
const char* cudaGetErrorName(cudaError_t) {
  return "itsName";
}
}

namespace saslm {
const char* cuda::code_words() {
  return "sm_80 sm_90 compute_90";
}
const void* cuda::any_kernel() {
  return &kKernel;
}

namespace {

using testing::HasSubstr;

std::string refusal() {
  const auto found = find_gpu();
  const auto* const why = std::get_if<std::string>(&found);
  return why == nullptr ? "" : *why;
}

std::string use_error() {
  try {
    use_gpu(0);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

class FindGpu : public testing::Test {
 protected:
  FindGpu() { machine = Machine(); }
};

TEST_F(FindGpu, TakesACardThatTheBuildHasCodeFor) {
  const auto found = find_gpu();
  ASSERT_TRUE(std::holds_alternative<Gpu>(found));
  EXPECT_EQ(std::get<Gpu>(found).name, "NVIDIA X");
  EXPECT_EQ(std::get<Gpu>(found).capability, 90);
  EXPECT_EQ(machine.used, -1) << "a context was made";
  machine.major = 8, machine.minor = 9;
  EXPECT_EQ(refusal(), "");
  machine.major = 12;
  EXPECT_EQ(refusal(), "") << "by PTX";
}

TEST_F(FindGpu, RefusesOneThatIsTooOld) {
  machine.major = 7, machine.minor = 5;
  EXPECT_THAT(refusal(), HasSubstr("NVIDIA X has compute capability 7.5; wanted 8.0 or newer"));
}

TEST_F(FindGpu, SaysWhyThereIsNone) {
  machine.count_error = cudaErrorInsufficientDriver;
  EXPECT_THAT(refusal(), HasSubstr("driver"));
  machine.count_error = cudaErrorNoDevice;
  EXPECT_THAT(refusal(), HasSubstr("GPU"));
  machine.count_error = cudaErrorUnknown;
  EXPECT_EQ(refusal(), "CUDA cannot be used: its words");
  machine.count_error = cudaSuccess, machine.count = 0;
  EXPECT_THAT(refusal(), HasSubstr("wanted GPU 0, 0 are visible"));
}

TEST_F(FindGpu, UseAsksTheDriverForAKernelFirst) {
  EXPECT_EQ(use_error(), "");
  EXPECT_EQ(machine.used, 0);
  EXPECT_EQ(machine.asked, 1);
}

TEST_F(FindGpu, UseRefusesWithTheRemedyWhatTheDriverDoesNotTake) {
  machine.major = 12;
  machine.kernel_error = cudaErrorNoKernelImageForDevice;
  EXPECT_THAT(use_error(), HasSubstr("no code for NVIDIA X, of compute capability 12.0"));
  EXPECT_THAT(use_error(), HasSubstr("-DSASLM_CUDA_ARCHITECTURES=120"));
  machine.kernel_error = cudaErrorUnsupportedPtxVersion;
  EXPECT_THAT(use_error(),
              HasSubstr("update the driver, or build saslm with -DSASLM_CUDA_ARCHITECTURES=120"));
  machine.kernel_error = cudaErrorMemoryAllocation;
  EXPECT_THAT(use_error(),
              HasSubstr("cannot be loaded on NVIDIA X: its words (itsName); runtime.device=cpu"));
}

}  // namespace
}  // namespace saslm
