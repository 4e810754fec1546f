#include <gtest/gtest.h>

#include <cstdlib>

#include "comm/communicator.h"
#include "core/error.h"

namespace saslm {
namespace {

TEST(SingleRank, GathersItsOwn) {
  EXPECT_EQ(single_rank().size(), 1);
  EXPECT_TRUE(single_rank().first());
  EXPECT_EQ(gather_numbers(single_rank(), {1, 2}, "test"), (std::vector<double>{1, 2}));
  EXPECT_EQ(gather_texts(single_rank(), "abc", "test"), std::vector<std::string>{"abc"});
}

class Environment : public testing::Test {
 protected:
  void SetUp() override { clear(); }
  void TearDown() override { clear(); }
  static void clear() {
    for (const char* variable :
         {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK",
          "OMPI_COMM_WORLD_LOCAL_SIZE", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"})
      unsetenv(variable);
  }
};

TEST_F(Environment, WithoutALauncherIsOneRank) {
  EXPECT_EQ(launched_as().rank, 0);
  EXPECT_EQ(launched_as().size, 1);
}

TEST_F(Environment, SaysWhatMpirunStarted) {
  setenv("OMPI_COMM_WORLD_RANK", "3", 1);
  setenv("OMPI_COMM_WORLD_SIZE", "8", 1);
  setenv("OMPI_COMM_WORLD_LOCAL_SIZE", "4", 1);
  EXPECT_EQ(launched_as().rank, 3);
  EXPECT_EQ(launched_as().size, 8);
  EXPECT_EQ(launched_as().local_size, 4);
  EXPECT_EQ(launched_as().local_rank, 3);
  setenv("OMPI_COMM_WORLD_LOCAL_RANK", "1", 1);
  EXPECT_EQ(launched_as().local_rank, 1);
}

TEST_F(Environment, RefusesWhatIsNoNumber) {
  setenv("OMPI_COMM_WORLD_SIZE", "two", 1);
  EXPECT_THROW(launched_as(), ConfigError);
}

}  // namespace
}  // namespace saslm
