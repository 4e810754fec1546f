#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "core/error.h"
#include "tests/own_folder.h"
#include "train/saver.h"

namespace saslm {
namespace {

namespace fs = std::filesystem;

struct Heard : TrainObserver {
  void warning(const std::string& line) override { warnings.push_back(line); }
  void checkpoint(const CheckpointRecord& record) override { saved.push_back(record); }
  std::vector<std::string> warnings;
  std::vector<CheckpointRecord> saved;
};

class SaverTest : public testing::Test {
 protected:
  std::string checkpoints() const { return root_ / "checkpoints"; }
  // A file where the folder of checkpoints should be.
  void break_disk() const { std::ofstream(checkpoints()) << "in the way"; }
  void mend_disk() const { fs::remove(checkpoints()); }

  void save(Saver& saver, int64_t step) const {
    const std::vector<ConstNamedTensor> tensors = {{"w", {3}, values_}};
    saver.begin({.step = step, .tensors = {tensors, tensors, {}}, .state_json = "{}", .config_json = "{}"},
                1.5);
    saver.end();
  }

  test::OwnFolder root_;
  std::vector<float> values_ = {1, 2, 3};
  MetricsLog metrics_{root_ / "metrics.jsonl"};
  Heard heard_;
  RunLock lock_{root_.path()};
  Saver saver_{single_rank(),
               heard_,
               {.dir = checkpoints(), .config = {.keep_last = 1}, .lock = &lock_, .metrics = &metrics_}};
};

TEST_F(SaverTest, WhatIsSavedIsOnRecordAndOlderOnesGo) {
  save(saver_, 1);
  save(saver_, 2);
  ASSERT_EQ(heard_.saved.size(), 2u);
  EXPECT_EQ(heard_.saved[1].step, 2);
  int64_t bytes = 0;
  for (const auto& file : fs::directory_iterator(heard_.saved[1].path)) bytes += int64_t(file.file_size());
  EXPECT_EQ(heard_.saved[1].bytes, bytes);
  EXPECT_EQ(verify_checkpoint(heard_.saved[1].path).bytes(), bytes);
  EXPECT_GE(heard_.saved[1].stall_ms, 1.5);
  EXPECT_EQ(heard_.saved[0].state_hash, heard_.saved[1].state_hash);
  EXPECT_TRUE(saver_.has(2));
  EXPECT_FALSE(saver_.has(1));
  ASSERT_EQ(list_checkpoints(checkpoints()).size(), 1u);
  EXPECT_EQ(verify_checkpoint(list_checkpoints(checkpoints())[0].path).step(), 2);
}

TEST_F(SaverTest, AnotherStateHasAnotherHash) {
  save(saver_, 1);
  values_[1] = 2.0000002f;
  save(saver_, 2);
  EXPECT_NE(heard_.saved[0].state_hash, heard_.saved[1].state_hash);
}

TEST_F(SaverTest, NothingIsSavedInADirectoryThatAnotherRunTook) {
  save(saver_, 1);
  std::ofstream(root_ / ".lock") << "process 7 on host other\nlock 1\n";
  EXPECT_THROW(save(saver_, 2), ConfigError);
  ASSERT_EQ(list_checkpoints(checkpoints()).size(), 1u);
  EXPECT_EQ(list_checkpoints(checkpoints())[0].step, 1);
}

TEST_F(SaverTest, TheThirdFailureInARowEndsTheRunAndThoseBeforeAreTold) {
  break_disk();
  save(saver_, 1);
  save(saver_, 2);
  EXPECT_EQ(heard_.warnings.size(), 2u);
  EXPECT_NE(heard_.warnings[0].find("step 1 could not be saved"), std::string::npos) << heard_.warnings[0];
  EXPECT_NE(heard_.warnings[0].find(checkpoints()), std::string::npos) << heard_.warnings[0];
  EXPECT_FALSE(saver_.has(2));
  EXPECT_THROW(save(saver_, 3), IoError);
}

TEST_F(SaverTest, ASaveThatSucceedsStartsTheCountAgain) {
  for (const int64_t step : {0, 10, 20}) {
    break_disk();
    save(saver_, step + 1);
    save(saver_, step + 2);
    EXPECT_FALSE(saver_.news().wanted) << "it is not tried again at once";
    mend_disk();
    save(saver_, step + 3);
    EXPECT_TRUE(saver_.has(step + 3));
    fs::remove_all(checkpoints());
  }
  EXPECT_EQ(heard_.warnings.size(), 6u);
}

TEST_F(SaverTest, AnEndIsNewsBeforeAnybodyWaitsForIt) {
  const std::vector<ConstNamedTensor> tensors = {{"w", {3}, values_}};
  EXPECT_FALSE(saver_.news().ended);
  saver_.begin({.step = 1, .tensors = {tensors, tensors, {}}, .state_json = "{}", .config_json = "{}"}, 0);
  while (!saver_.news().ended) std::this_thread::yield();
  EXPECT_FALSE(saver_.has(1)) << "not before its result was dealt with";
  saver_.end();
  EXPECT_FALSE(saver_.news().ended);
  EXPECT_TRUE(saver_.has(1));
}

TEST_F(SaverTest, AnEarlierEndStaysAndEachRemovalIsOnRecord) {
  const std::vector<ConstNamedTensor> tensors = {{"w", {3}, values_}};
  for (const int64_t step : {1, 2, 3, 4, 5}) {
    const std::string config = R"({"train":{"steps":)" + std::to_string(step < 3 ? 2 : 5) + "}}";
    saver_.begin({.step = step, .tensors = {tensors, tensors, {}}, .state_json = "{}", .config_json = config},
                 0);
    saver_.end();
  }
  const auto left = list_checkpoints(checkpoints());
  ASSERT_EQ(left.size(), 2u);
  EXPECT_EQ(left[0].step, 2) << "the run was to end there, before it was extended";
  EXPECT_EQ(left[1].step, 5);
  EXPECT_EQ(heard_.saved[3].removed, std::vector<std::string>{checkpoints() + "/step_00000003"});
  const std::string record = read_file(root_ / "metrics.jsonl");
  for (const char* step : {"1", "3", "4"})
    EXPECT_NE(record.find(std::string(R"({"event":"checkpoint_removed","removed_step":)") + step),
              record.npos)
        << record;
}

TEST_F(SaverTest, WhatAnEarlierRunSavedNeedsNoSaving) {
  saver_.found(7);
  EXPECT_TRUE(saver_.has(7));
  EXPECT_FALSE(saver_.has(8));
}

}  // namespace
}  // namespace saslm
