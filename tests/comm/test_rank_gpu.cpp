#include <gtest/gtest.h>

#include <cstdlib>

#include "comm/rank_gpu.h"
#include "tests/comm/thread_ranks.h"

namespace saslm {
namespace {

LaunchedAs local(int rank, int size) {
  return {.rank = rank, .size = size, .local_rank = rank, .local_size = size, .launched = size > 1};
}

TEST(RankGpu, IsTheRanksOwnNumberOnItsMachine) {
  EXPECT_EQ(gpu_of_rank({}, 1), 0);
  EXPECT_EQ(gpu_of_rank({}, 8), 0);
  EXPECT_EQ(gpu_of_rank(local(3, 4), 4), 3);
  EXPECT_EQ(gpu_of_rank({.rank = 9, .size = 16, .local_rank = 1, .local_size = 8, .launched = true}, 8), 1);
}

TEST(RankGpu, IsTheOnlyOneThatALauncherShows) {
  setenv("CUDA_VISIBLE_DEVICES", "3", 1);
  EXPECT_EQ(gpu_of_rank(local(3, 4), 1), 0);
  unsetenv("CUDA_VISIBLE_DEVICES");
  EXPECT_THROW(gpu_of_rank(local(1, 4), 1), ConfigError) << "all see the machine's only one";
}

TEST(RankGpu, IsRefusedWhereThereAreTooFew) {
  setenv("CUDA_VISIBLE_DEVICES", "5,7", 1);
  try {
    gpu_of_rank(local(0, 4), 2);
    FAIL() << "4 ranks on 2 GPUs";
  } catch (const ConfigError& e) {
    EXPECT_STREQ(
        e.what(),
        "every rank needs a GPU of its own: wanted 4 for the ranks on this machine, 2 visible "
        "(CUDA_VISIBLE_DEVICES=5,7); start fewer ranks, let them see more GPUs, or give --device cpu");
  }
  unsetenv("CUDA_VISIBLE_DEVICES");
  EXPECT_THROW(gpu_of_rank({.local_size = 2}, 1), ConfigError) << "before ranks are launched";
}

TEST(RankGpu, MayNotBeTwoRanks) {
  const std::vector<std::string> ids = {"GPU-a", "GPU-bb", "GPU-a"};
  const std::vector<std::string> errors = run_ranks(3, 5, [&](const std::unique_ptr<HostRanks>& room) {
    check_gpus_differ(*room, ids[size_t(room->rank())]);
  });
  for (const std::string& error : errors)
    EXPECT_EQ(
        error.find("every rank needs a GPU of its own, but of 3 ranks, rank 0 and rank 2 were given the "
                   "same: GPU-a"),
        0u)
        << error;
  for (const std::string& error : run_ranks(3, 5, [&](const std::unique_ptr<HostRanks>& room) {
         check_gpus_differ(*room, std::to_string(room->rank()));
       }))
    EXPECT_EQ(error, "");
}

}  // namespace
}  // namespace saslm
