// A run that goes on elsewhere than it began says so; one that goes on as it was says nothing.
#include "tests/train/golden.h"

namespace saslm {
namespace {

struct HeardWarnings : TrainObserver {
  void warning(const std::string& line) override { warnings += line + "\n"; }
  void step(const StepRecord&) override { stepped = true; }
  std::string warnings;
  bool stepped = false;
};

class ComputedByTest : public testing::Test {
 protected:
  // One step more, as if it were computed by a device of that kind: what was warned of.
  std::string go_on(const char* device, DeviceKind wished = DeviceKind::automatic) {
    Config c = load_config(std::filesystem::path(SASLM_GOLDEN_DIR) / "gqa_sas" / "config.json");
    c.train.steps = 6;
    c.runtime.device = wished;
    Ops<float> ops = cpu_ops<float>();
    ops.device = device;
    HeardWarnings heard;
    Trainer<float>(c, {.run_dir = root_ / "run", .stop = [&] { return heard.stepped; }}, ops, heard).run();
    return heard.warnings;
  }

  test::OwnFolder root_;
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

}  // namespace
}  // namespace saslm
