#include <gtest/gtest.h>

#include "core/printable.h"

namespace saslm {
namespace {

TEST(Printable, OrdinaryTextOfEveryScriptStays) {
  const std::string text = "runs/première é 日本語 עברית \xF0\x9F\x98\x80 a\\b \"q\" ~";
  EXPECT_EQ(printable(text), text);
  EXPECT_EQ(printable_lines(text), text);
  EXPECT_EQ(printable(""), "");
}

TEST(Printable, EveryControlCharacterIsSpelled) {
  EXPECT_EQ(printable("a\x1B[2Jb\r\b\a"), R"(a\x1B[2Jb\x0D\x08\x07)");
  EXPECT_EQ(printable(std::string("\0\x7F", 2)), R"(\x00\x7F)");
  EXPECT_EQ(printable("\xC2\x9B"
                      "2J \xC2\x80 \xC2\x9F"),
            R"(\xC2\x9B2J \xC2\x80 \xC2\x9F)");                  // C1: a terminal's CSI too
  EXPECT_EQ(printable("\xC2\xA0\xC2\xA1"), "\xC2\xA0\xC2\xA1");  // the first after C1
  for (int c = 0; c < 0x20; ++c) EXPECT_EQ(printable(std::string(1, char(c))).size(), 4u) << c;
}

TEST(Printable, LineBreaksAndTabsStayOnlyWhereThereAreLines) {
  EXPECT_EQ(printable("a\nb\tc"), R"(a\x0Ab\x09c)");
  EXPECT_EQ(printable_lines("a\nb\tc\r\n"), "a\nb\tc\\x0D\n");
}

TEST(Printable, WhatTurnsTheDirectionOrSeparatesLinesIsSpelled) {
  EXPECT_EQ(printable("x\u202Egnp"), R"(x\xE2\x80\xAEgnp)");
  EXPECT_EQ(printable("\u2066\u2069"), R"(\xE2\x81\xA6\xE2\x81\xA9)");
  EXPECT_EQ(printable("\u2028\u2029"), R"(\xE2\x80\xA8\xE2\x80\xA9)");
  EXPECT_EQ(printable("\u200F\u2027\u202F\u2065\u206A"), "\u200F\u2027\u202F\u2065\u206A");
}

TEST(Printable, BytesThatAreNoUtf8AreSpelled) {
  EXPECT_EQ(printable("\xFF\xFE"), R"(\xFF\xFE)");
  EXPECT_EQ(printable("\x80ok"), R"(\x80ok)");
  EXPECT_EQ(printable("\xC3"), R"(\xC3)");                          // cut short
  EXPECT_EQ(printable("\xC3(\xE2\x82"), R"(\xC3(\xE2\x82)");        // not continued; cut short
  EXPECT_EQ(printable("\xC0\x9B\xC1\x81"), R"(\xC0\x9B\xC1\x81)");  // spelled too long
  EXPECT_EQ(printable("\xE0\x82\x9B"), R"(\xE0\x82\x9B)");
  EXPECT_EQ(printable("\xED\xA0\x80"), R"(\xED\xA0\x80)");          // half of a surrogate pair
  EXPECT_EQ(printable("\xF4\x90\x80\x80"), R"(\xF4\x90\x80\x80)");  // beyond U+10FFFF
  EXPECT_EQ(printable("\xF8\x88\x80\x80\x80"), R"(\xF8\x88\x80\x80\x80)");
}

}  // namespace
}  // namespace saslm
