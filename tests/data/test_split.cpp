#include "data/split.h"
#include "data/utf8.h"
#include "tests/data/support.h"

namespace saslm {
namespace {

// The pieces, joined by '|'.
std::string pieces_of(const std::vector<SplitStep>& steps, const std::string& text) {
  const SplitPatterns patterns("file", steps);
  std::string joined;
  PieceSplitter(patterns).split(text, false, text.size(), [&](std::string_view piece) {
    if (!joined.empty()) joined += '|';
    joined += piece;
  });
  return joined;
}

std::string pieces_of(const std::string& pattern, const std::string& text) {
  return pieces_of(std::vector<SplitStep>{{pattern}}, text);
}

TEST(Split, MatchesAndWhatLiesBetweenArePieces) {
  EXPECT_EQ(pieces_of("b+", "abba"), "a|bb|a");
  EXPECT_EQ(pieces_of("a", "aa"), "a|a");
  EXPECT_EQ(pieces_of("x", "abba"), "abba");
  EXPECT_EQ(pieces_of(std::vector<SplitStep>{}, "abba"), "abba");
}

TEST(Split, TheNextPatternCutsThePiecesOfTheOneBefore) {
  EXPECT_EQ(pieces_of({{"\\p{N}"}, {"[a-z]+"}}, "ab12cd!3"), "ab|1|2|cd|!|3");
  EXPECT_EQ(pieces_of({{"a+b+"}, {"ab?"}}, "aabbab"), "a|ab|b|ab");  // not across: "b" does not join "ab"
  EXPECT_EQ(pieces_of({{".", true}, {"[a-z]+"}}, "a.b"), "a|.|b");   // a plain text, not an expression
}

TEST(Split, PatternsMeanWhatTheyMeanToTheLibrary) {
  const std::string nel = "\xc2\x85", mvs = "\xe1\xa0\x8e", sharp_s = "\xc3\x9f", long_s = "\xc5\xbf",
                    three = "\xd9\xa3";
  EXPECT_EQ(pieces_of("\\s+", "a" + nel + "b" + mvs + "c"), "a|" + nel + "|b" + mvs + "c");
  EXPECT_EQ(pieces_of("[^\\s]+", " a" + mvs + nel), " |a" + mvs + "|" + nel);
  EXPECT_EQ(pieces_of("[\\S]+", " a" + mvs + nel), " |a" + mvs + "|" + nel);
  EXPECT_EQ(pieces_of("\\S", " a" + nel), " |a|" + nel);
  EXPECT_EQ(pieces_of("\\d+", "1" + three + "a"), "1" + three + "|a");
  EXPECT_EQ(pieces_of("\\D+|[\\d]", "ab12"), "ab|1|2");
  EXPECT_EQ(pieces_of("\\P{L}+", "ab12"), "ab|12");
  EXPECT_EQ(pieces_of("\\p{^L}+", "ab12"), "ab|12");
  EXPECT_EQ(pieces_of("\\P{^L}+", "12ab"), "12|ab");
  EXPECT_EQ(pieces_of("\\p{N}{1,3}", "1234a"), "123|4|a");
  EXPECT_EQ(pieces_of("a{2}", "aaa"), "aa|a");
  EXPECT_EQ(pieces_of("a+?", "aa"), "a|a");
  EXPECT_EQ(pieces_of("a++b", "aab"), "aab");
  EXPECT_EQ(pieces_of("(?>a+)b", "aab"), "aab");
  EXPECT_EQ(pieces_of("a(?=b)|(?!c)[bc]", "abac"), "a|b|ac");
  EXPECT_EQ(pieces_of("(?:a|b)+(c)", "abcab"), "abc|ab");
  EXPECT_EQ(pieces_of("(?i:'s|LL)", "a'" + long_s + "b'Sclld"), "a|'" + long_s + "|b|'S|c|ll|d");
  EXPECT_EQ(pieces_of("'(?i:[sdmt]|ll)", "a'S'" + long_s + "b'lLx'T"), "a|'S|'" + long_s + "|b|'lL|x|'T");
  EXPECT_EQ(pieces_of("(?i:[a-k]+)", "aK\xe2\x84\xaal"), "aK\xe2\x84\xaa|l");
  EXPECT_EQ(pieces_of("[^(\\s|[.,])]+", "ab.c (d"), "ab|.|c| (|d");
  EXPECT_EQ(pieces_of("[a[bc]d]+", "abcde"), "abcd|e");
  EXPECT_EQ(pieces_of("\\p{N}{1,3}+", "12345678a1"), "12345678|a|1");  // not possessive
  EXPECT_EQ(pieces_of("(?:ab){2}+", "ababababab"), "abababab|ab");
  EXPECT_EQ(pieces_of("\\s++$", "a  \n b  \n\n  c   "), "a  \n b  \n\n  c|   ");
  EXPECT_EQ(pieces_of("b$", "ab\nb\r\nbb"), "a|b|\nb\r\nb|b");
  EXPECT_EQ(pieces_of(".", "a\n" + sharp_s), "a|\n|" + sharp_s);
  EXPECT_EQ(pieces_of("[\\x61-\\x{63}\\u00df\\t]+", "abcd" + sharp_s + "\t"), "abc|d|" + sharp_s + "\t");
  EXPECT_EQ(pieces_of("[\\-\\]\\\\^-]+", "a-]\\^b"), "a|-]\\^|b");
  EXPECT_EQ(pieces_of("\\(\\+\\}", "(+}"), "(+}");
  EXPECT_EQ(pieces_of("[\\r\\n]+|\\v|#x y", "a\r\n\v#x y"), "a|\r\n|\v|#x y");
}

TEST(Split, AnOpenTextIsCutOnlyWhereNothingCanChange) {
  const SplitPatterns patterns("file", {{"\\p{N}{1,3}"}, {R"( ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)"}});
  PieceSplitter splitter(patterns);
  const auto certain = [&](std::string_view text) {
    return splitter.split(text, true, text.size(), [](std::string_view) {});
  };
  EXPECT_EQ(certain("the fox"), 3u);   // " fox" may become " foxes"
  EXPECT_EQ(certain("the fox "), 7u);  // " " may join what follows
  EXPECT_EQ(certain("a 12"), 1u);      // "12" may become "123"; until it is a match, " " may join it
  EXPECT_EQ(certain("a 123"), 5u);
  EXPECT_EQ(certain(""), 0u);
}

TEST(Split, APieceSaysWhetherItsEndIsACut) {
  const SplitPatterns patterns("file", {{"\\p{N}+x"}, {"[a-z]|\\p{N}"}});
  std::string joined;
  PieceSplitter(patterns).split("ab12x34", false, 7, [&](std::string_view piece, bool cut) {
    joined += std::string(piece) + (cut ? "|" : ".");
  });
  EXPECT_EQ(joined, "a|b|1.2.x|3|4|");
}

TEST(Utf8, RunsEndBeforeWhatIsNotWellFormed) {
  const auto run = [](std::string_view text) {
    const Utf8Run found = utf8_run(text, 0);
    return std::pair(found.end, found.cut);
  };
  using Run = std::pair<size_t, bool>;
  EXPECT_EQ(run("eight ASCII, \xc3\xa9\xe6\x97\xa5\xf0\x9f\x99\x82."), Run(23, false));
  for (const char* bad : {"ab\x80", "ab\xc1\x81", "ab\xe0\x9f\x80", "ab\xed\xa0\x80", "ab\xf0\x8f\x80\x80",
                          "ab\xf4\x90\x80\x80", "ab\xf5\x80", "ab\xff", "ab\xe6\x97z", "ab\xc3\xc3\xa9"})
    EXPECT_EQ(run(bad), Run(2, false)) << bad;
  for (const char* cut : {"ab\xc3", "ab\xe6\x97", "ab\xf0\x9f\x99", "ab\xed", "ab\xf4\x8f"})
    EXPECT_EQ(run(cut), Run(2, true)) << cut;
}

}  // namespace
}  // namespace saslm
