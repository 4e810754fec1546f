#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "ops/nvidia_driver.h"
#include "own_folder.h"

namespace saslm {
namespace {

class NvidiaDriverTest : public testing::Test {
 protected:
  void put(const std::string& path, const std::string& text = "") {
    const std::filesystem::path file = root_ / path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  NvidiaDriver found() const { return nvidia_driver(root_.path()); }

  test::OwnFolder root_;
};

TEST_F(NvidiaDriverTest, NothingIsSaidOfAMachineWithoutOne) {
  EXPECT_EQ(found().version, "");
  EXPECT_FALSE(found().gpu_present);
}

TEST_F(NvidiaDriverTest, ItsVersionIsRead) {
  put("proc/driver/nvidia/version",
      "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22 01:44:30 UTC 2024\n"
      "GCC version:  gcc version 12.3.0\n");
  EXPECT_EQ(found().version, "550.54.14");
  put("proc/driver/nvidia/version",
      "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\n");
  EXPECT_EQ(found().version, "580.65.06");
  put("proc/driver/nvidia/version", "");
  EXPECT_EQ(found().version, "");
}

TEST_F(NvidiaDriverTest, AGpuIsADeviceFileWithANumber) {
  put("dev/nvidiactl");
  put("dev/nvidia-uvm");
  EXPECT_FALSE(found().gpu_present);
  put("dev/nvidia3");
  EXPECT_TRUE(found().gpu_present);
}

TEST_F(NvidiaDriverTest, WindowsHasAnother) {
  put("dev/dxg");
  EXPECT_FALSE(found().gpu_present);
  put("usr/lib/wsl/lib/libcuda.so.1");
  EXPECT_TRUE(found().gpu_present);
}

TEST(HiddenGpus, AreThoseThatTheUserHid) {
  const auto hidden = [](const char* value) {
    setenv("CUDA_VISIBLE_DEVICES", value, 1);
    return gpus_are_hidden();
  };
  EXPECT_TRUE(hidden(""));
  EXPECT_TRUE(hidden("-1"));
  EXPECT_FALSE(hidden("0"));
  unsetenv("CUDA_VISIBLE_DEVICES");
  EXPECT_FALSE(gpus_are_hidden());
}

}  // namespace
}  // namespace saslm
