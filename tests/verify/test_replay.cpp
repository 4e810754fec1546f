// A bit that flips in a weight or a moment while a run goes on: `verify` finds it, and says of how many.
#include <bit>
#include <filesystem>

#include "core/rng.h"
#include "tests/train/golden.h"
#include "verify/replay.h"

namespace saslm {
namespace {

constexpr int64_t kSteps = 6, kSaveEvery = 3, kFlips = 96;

struct Flip {
  int64_t at_call = -1;  // of adamw, over the whole run
  int which = 0;         // master, m, v
  uint64_t draw = 0;
  int64_t calls = 0;
};
Flip flip;

void adamw(Stream stream, const AdamW<float>& a) {
  cpu_ops<float>().adamw(stream, a);
  if (flip.calls++ != flip.at_call) return;
  const Vec<float> hit = flip.which == 0 ? a.master : flip.which == 1 ? a.m : a.v;
  float& x = hit.data[flip.draw % uint64_t(hit.size)];
  x = std::bit_cast<float>(std::bit_cast<uint32_t>(x) ^ (1u << (flip.draw >> 40) % 32));
}
const Ops<float>& flipping_ops() {
  static const Ops<float> kOps = [] {
    Ops<float> ops = cpu_ops<float>();
    ops.adamw = adamw;
    return ops;
  }();
  return kOps;
}

class Replay : public testing::Test {
 protected:
  static Config config() {
    Config c = load_config(std::filesystem::path(SASLM_GOLDEN_DIR) / "gqa_sas" / "config.json");
    c.train.steps = kSteps;
    c.checkpoint.every_steps = kSaveEvery;
    c.checkpoint.keep_last = 2;
    c.data.val.clear();
    return c;
  }
  std::string train(const std::string& name, const Flip& planted) const {
    flip = planted;
    TrainObserver silent;
    Trainer<float>(config(), {.run_dir = root_ / name}, flipping_ops(), silent).run();
    return root_ / name;
  }
  StateDifference verified(const std::string& run) const {
    const ReplayOptions options{.run_dir = run, .work_dir = root_ / "work"};
    return replay(options, plan_replay(options, {}), cpu_ops<float>());
  }

  test::OwnFolder root_;
};

TEST_F(Replay, FindsEveryFlippedBitThatTheRunStillCarriesAndNoOther) {
  const std::string clean = train("clean", {});
  EXPECT_TRUE(verified(clean).none());
  const int64_t tensors = flip.calls / kSteps;
  ASSERT_EQ(flip.calls, tensors * kSteps);
  int64_t carried = 0;
  for (int64_t i = 0; i < kFlips; ++i) {
    const uint64_t draw = stream_key(uint64_t(i), "flips");
    const int64_t step = kSaveEvery + i % (kSteps - kSaveEvery);
    const std::string run = train(
        "flipped",
        {.at_call = step * tensors + int64_t(draw % uint64_t(tensors)), .which = int(i % 3), .draw = draw});
    const StateDifference found = verified(run);
    const bool differs = !diff(run, clean).none();
    EXPECT_EQ(!found.none(), differs) << "flip " << i;
    if (found.metric) {
      EXPECT_GT(found.metric->step, step) << "flip " << i;
    }
    carried += differs;
    std::filesystem::remove_all(run);
  }
  RecordProperty("carried_to_the_next_checkpoint", std::to_string(carried) + " of " + std::to_string(kFlips));
  EXPECT_GE(carried, kFlips * 9 / 10);
}

}  // namespace
}  // namespace saslm
