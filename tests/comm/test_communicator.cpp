#include <gtest/gtest.h>

#include "comm/communicator.h"

namespace saslm {
namespace {

TEST(SingleRank, GathersItsOwn) {
  EXPECT_EQ(single_rank().size(), 1);
  EXPECT_TRUE(single_rank().first());
  EXPECT_EQ(gather_numbers(single_rank(), {1, 2}, "test"), (std::vector<double>{1, 2}));
  EXPECT_EQ(gather_texts(single_rank(), "abc", "test"), std::vector<std::string>{"abc"});
}

}  // namespace
}  // namespace saslm
