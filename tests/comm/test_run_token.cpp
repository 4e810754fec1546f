#include <gtest/gtest.h>

#include "comm/run_token.h"

namespace saslm {
namespace {

TEST(RunToken, IsAnotherEveryTime) {
  EXPECT_NE(draw_token(), draw_token());
  EXPECT_FALSE(equal(draw_token(), draw_token()));
}

TEST(RunToken, ComesBackFromItsText) {
  const RunToken token = draw_token();
  EXPECT_EQ(text_of(token).size(), 32u);
  ASSERT_TRUE(token_of(text_of(token)));
  EXPECT_TRUE(equal(*token_of(text_of(token)), token));
  EXPECT_EQ(text_of(*token_of("000102030405060708090a0b0c0d0eFf")), "000102030405060708090a0b0c0d0eff");
}

TEST(RunToken, DiffersByAnyBit) {
  const RunToken token = draw_token();
  for (size_t bit = 0; bit < 8 * token.size(); ++bit) {
    RunToken other = token;
    other[bit / 8] ^= std::byte(1 << bit % 8);
    EXPECT_FALSE(equal(token, other)) << bit;
  }
}

TEST(RunToken, OfAnotherTextThereIsNone) {
  const std::string right(32, 'a');
  EXPECT_TRUE(token_of(right));
  for (const std::string& wrong :
       {std::string(), right.substr(1), right + "a", "g" + right.substr(1), "-" + right.substr(1),
        " " + right.substr(1), "0x" + right.substr(2), std::string(32, '\0')})
    EXPECT_FALSE(token_of(wrong)) << wrong;
}

}  // namespace
}  // namespace saslm
