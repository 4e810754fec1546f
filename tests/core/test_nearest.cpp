#include <gtest/gtest.h>

#include "core/nearest.h"

namespace saslm {
namespace {

const std::vector<std::string> kKnownKeys = {"kind",         "lr",        "betas",      "eps",
                                             "weight_decay", "grad_clip", "kernel_size"};

TEST(Nearest, IsWhatTheWordIsASlipOf) {
  EXPECT_EQ(nearest("rl", kKnownKeys), "lr");  // swapped
  EXPECT_EQ(nearest("beta", kKnownKeys), "betas");
  EXPECT_EQ(nearest("wieght-Decay", kKnownKeys), "weight_decay");
  EXPECT_EQ(nearest("weigthdecya", kKnownKeys), "weight_decay");  // three slips in eleven letters
  EXPECT_EQ(nearest("trian", {"plan", "train", "eval"}), "train");
}

TEST(Nearest, IsWhatHoldsTheWordWhenItIsNoSlip) {
  EXPECT_EQ(nearest("kernel", kKnownKeys), "kernel_size");
  EXPECT_EQ(nearest("optimizer", {"model", "optim"}), "optim");
  EXPECT_EQ(nearest("si", kKnownKeys), std::nullopt);  // in "kernel_size", as in many a word
}

TEST(Nearest, IsNothingWhenNothingIsNear) {
  EXPECT_EQ(nearest("learning_rate", kKnownKeys), std::nullopt);
  EXPECT_EQ(nearest("dim", kKnownKeys), std::nullopt);
  EXPECT_EQ(nearest("", kKnownKeys), std::nullopt);
  EXPECT_EQ(nearest("kind", {}), std::nullopt);
  EXPECT_EQ(nearest(std::string(100000, 'k'), kKnownKeys), std::nullopt);  // and takes no time
}

TEST(Nearest, SnakeCase) {
  EXPECT_EQ(snake_case("learningRate"), "learning_rate");
  EXPECT_EQ(snake_case("--run-dir"), "__run_dir");
  EXPECT_EQ(snake_case("MHA"), "mha");
}

}  // namespace
}  // namespace saslm
