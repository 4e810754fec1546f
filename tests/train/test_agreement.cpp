#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <stdexcept>

#include "tests/train/thread_ranks.h"
#include "train/agreement.h"

namespace saslm {
namespace {

// What the first rank says of three, whose GPUs have these names.
std::vector<std::string> lines_for(const std::vector<std::string>& gpus) {
  std::vector<std::string> first;
  ThreadRanks(int(gpus.size()), cpu_ops<float>()).run([&](const Communicator& comm) {
    auto mine = nlohmann::ordered_json::object();
    if (!gpus[size_t(comm.rank())].empty()) mine["gpu"] = gpus[size_t(comm.rank())];
    const auto lines = not_as_first(comm, mine);
    if (comm.first())
      first = lines;
    else if (!lines.empty())
      throw std::logic_error("a rank that is not the first speaks");
  });
  return first;
}

TEST(NotAsFirst, NamesTheRankAndBoth) {
  EXPECT_TRUE(lines_for({"H100", "H100", "H100"}).empty());
  EXPECT_TRUE(lines_for({"", "", ""}).empty());
  EXPECT_EQ(lines_for({"H100", "H100", "H200"}),
            std::vector<std::string>{"gpu: H100 on rank 0, H200 on rank 2"});
  EXPECT_EQ(lines_for({"H100", ""}), std::vector<std::string>{"gpu: H100 on rank 0, not known on rank 1"});
}

}  // namespace
}  // namespace saslm
