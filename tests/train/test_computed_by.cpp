// A run that goes on elsewhere than it began says so; one that goes on as it was says nothing.
#include "tests/train/golden.h"

namespace saslm {
namespace {

struct HeardWarnings : TrainObserver {
  void warning(const std::string& line) override { warnings += line + "\n"; }
  void note(const std::string& line) override { notes += line + "\n"; }
  void step(const StepRecord& record) override { last = record, stepped = true; }
  std::string warnings, notes;
  StepRecord last;
  bool stepped = false;
};

class ComputedByTest : public testing::Test {
 protected:
  // One step more, as if it were computed by a device of that kind: what was warned of.
  std::string go_on(const char* device, DeviceKind wished = DeviceKind::automatic) {
    return run(
               device, [] { return Platform(); }, wished)
        .warnings;
  }
  HeardWarnings run(const char* device, Platform (*platform)(), DeviceKind wished = DeviceKind::automatic) {
    Config c = load_config(std::filesystem::path(SASLM_GOLDEN_DIR) / "gqa_sas" / "config.json");
    c.train.steps = 6;
    c.runtime.device = wished;
    Ops<float> ops = cpu_ops<float>();
    ops.device = device;
    ops.platform = platform;
    HeardWarnings heard;
    c.runtime.peak_tflops = peak_tflops_;
    Trainer<float>(c, {.run_dir = root_ / "run", .stop = [&] { return heard.stepped; }}, ops, heard).run();
    return heard;
  }

  test::OwnFolder root_;
  double peak_tflops_ = 0;
};

TEST_F(ComputedByTest, AutoThatBecomesAnotherDeviceIsWarnedOfOnce) {
  EXPECT_EQ(go_on("cuda"), "");
  EXPECT_EQ(go_on("cuda"), "");
  const std::string warned = go_on("cpu");
  EXPECT_NE(warned.find("device: cuda in the checkpoint, cpu now; the arithmetic"), std::string::npos)
      << warned;
  EXPECT_EQ(go_on("cpu"), "");
}

TEST_F(ComputedByTest, TheSameDeviceByAnotherWordIsNoChange) {
  EXPECT_EQ(go_on("cpu"), "");
  EXPECT_EQ(go_on("cpu", DeviceKind::cpu), "");
  EXPECT_EQ(go_on("cpu", DeviceKind::automatic), "");
}

TEST_F(ComputedByTest, AnotherGpuIsWarnedOfOnceAndAnotherDriverNoted) {
  const auto a100 = [] { return Platform{"A100", "8.0", "550.1", "12.4", "cuBLASLt 12.4.5"}; };
  const auto h100 = [] { return Platform{"H100", "9.0", "580.1", "12.4", "cuBLASLt 12.4.5"}; };
  EXPECT_EQ(run("cuda", a100).warnings, "");
  EXPECT_EQ(run("cuda", a100).warnings, "");
  const HeardWarnings heard = run("cuda", h100);
  EXPECT_NE(heard.warnings.find("GPU: A100 in the checkpoint, H100 now; the arithmetic"), std::string::npos)
      << heard.warnings;
  EXPECT_EQ(heard.warnings.find("driver"), std::string::npos) << heard.warnings;
  EXPECT_NE(heard.notes.find("driver: 550.1 in the checkpoint, 580.1 now"), std::string::npos) << heard.notes;
  EXPECT_EQ(run("cuda", h100).warnings, "");
}

TEST_F(ComputedByTest, WhereNoPeakIsKnownTheLogSaysHowToGiveIt) {
  const auto unknown = [] { return Platform{.gpu = "NVIDIA Z1"}; };
  const HeardWarnings without = run("cuda", unknown);
  EXPECT_EQ(without.last.mfu, std::nullopt);
  EXPECT_NE(without.notes.find("no MFU: "), std::string::npos) << without.notes;
  EXPECT_NE(without.notes.find("runtime.peak_tflops says it"), std::string::npos) << without.notes;
  peak_tflops_ = 0.5;
  const HeardWarnings with = run("cuda", unknown);
  EXPECT_NE(with.notes.find("MFU is measured against 0.5 TFLOP/s (runtime.peak_tflops)"), std::string::npos);
  ASSERT_TRUE(with.last.mfu.has_value());
  EXPECT_GT(*with.last.mfu, 0);
}

}  // namespace
}  // namespace saslm
