// NCCL itself, with one rank that sends to itself. More ranks would need more GPUs.
#include <gtest/gtest.h>

#include <numeric>

#include "comm/nccl.h"
#include "core/error.h"
#include "ops/ops.h"

namespace saslm {
namespace {

constexpr int64_t kSize = (int64_t(1) << 22) + 3;  // floats

// A room of NCCL's and a queue with memory beside it.
class GpuRanks : public testing::Test {
 protected:
  void SetUp() override {
    try {
      room_ = join_nccl(room_of_one(60), {});
    } catch (const ConfigError& e) {
      GTEST_SKIP() << e.what();
    }
    std::iota(numbers_.begin(), numbers_.end(), 1.0f);
    ops_.copy_in(*stream_, x_.data, numbers_.data(), sizeof(float) * kSize);
  }

  Vec<float> floats(const std::shared_ptr<std::byte>& block) const {
    return {reinterpret_cast<float*>(block.get()), kSize};
  }
  std::vector<float> read(Vec<float> x) const {
    std::vector<float> host(kSize);
    ops_.copy_out(*stream_, host.data(), x.data, sizeof(float) * kSize);
    return host;
  }

  const Ops<float>& ops_ = cuda_ops<float>();
  const std::shared_ptr<const Stream> stream_ = ops_.open_stream();
  const std::shared_ptr<std::byte> block_x_ = ops_.allocate(sizeof(float) * kSize),
                                   block_y_ = ops_.allocate(sizeof(float) * kSize);
  const Vec<float> x_ = floats(block_x_), y_ = floats(block_y_);
  std::vector<float> numbers_ = std::vector<float>(kSize);
  std::unique_ptr<Communicator> room_;
};

TEST_F(GpuRanks, OneTakesWhatItGivesItself) {
  room_->exchange(*stream_, 0, x_, y_, "test");
  room_->wait(*stream_, "test");
  EXPECT_TRUE(read(y_) == numbers_);
}

TEST_F(GpuRanks, TheSumOverOneIsItsOwn) {
  room_->all_reduce(*stream_, x_, "test");
  room_->wait(*stream_, "test");
  EXPECT_TRUE(read(x_) == numbers_);
}

TEST_F(GpuRanks, WhatIsQueuedInTurnIsDoneInTurn) {
  for (int i = 0; i < 100; ++i) {
    ops_.zero(*stream_, y_.data, sizeof(float) * kSize);
    room_->exchange(*stream_, 0, x_, y_, "test");
    ops_.accumulate(*stream_, {.y = x_, .x = y_});  // x = 2 x
    room_->all_reduce(*stream_, x_, "test");
  }
  room_->wait(*stream_, "test");
  for (float& x : numbers_) x *= 0x1p100f;
  EXPECT_TRUE(read(x_) == numbers_);
}

TEST_F(GpuRanks, AnAbandonedRoomLeavesAWorkingGpu) {
  room_->exchange(*stream_, 0, x_, y_, "test");
  room_->abandon(DataError("elsewhere"));
  room_.reset();
  EXPECT_TRUE(read(x_) == numbers_);
}

}  // namespace
}  // namespace saslm
