// write_seeds DIR: DIR/PARSER/N of every parser, and DIR/PARSER.dict, the words that they are made of.
#include <cctype>
#include <cstdio>
#include <set>

#include "fuzz/target.h"

namespace saslm::fuzz {
namespace {

constexpr size_t kLongestWord = 60;

// The quoted words of a text, without their quotes.
void collect(const std::string& text, std::set<std::string>& words) {
  for (size_t at = text.find('"'); at != text.npos; at = text.find('"', at + 1)) {
    const size_t end = text.find('"', at + 1);
    if (end == text.npos) return;
    if (end - at <= kLongestWord) words.insert(text.substr(at + 1, end - at - 1));
    at = end;
  }
}

std::string dictionary_of(const Target& target) {
  // Numbers at the edges of their types, and JSON's own words.
  std::set<std::string> words = {"null",
                                 "true",
                                 "false",
                                 "[]",
                                 "{}",
                                 "-1",
                                 "0",
                                 "1",
                                 "0.5",
                                 "1e999",
                                 "1e300",
                                 "2147483647",
                                 "2147483648",
                                 "9223372036854775807",
                                 "9223372036854775808",
                                 "18446744073709551615"};
  words.insert(target.words.begin(), target.words.end());
  for (const std::string& seed : target.seeds()) collect(seed, words);
  std::string text;
  for (const std::string& word : words) {
    if (word.empty()) continue;
    text += '"';
    for (const char c : word) {
      char escaped[5];
      std::snprintf(escaped, sizeof escaped, "\\x%02x", unsigned(uint8_t(c)));
      text += std::isalnum(uint8_t(c)) ? std::string(1, c) : escaped;
    }
    text += "\"\n";
  }
  return text;
}

}  // namespace
}  // namespace saslm::fuzz

int main(int argc, char** argv) {
  using namespace saslm;
  if (argc != 2) return 2;
  const std::string root = argv[1];
  for (const fuzz::Target* target : fuzz::all_targets()) {
    const std::string folder = root + "/" + target->name;
    make_dirs(folder);
    size_t n = 0;
    for (const std::string& seed : target->seeds())
      atomic_write_file(folder + "/seed" + std::to_string(n++), seed);
    atomic_write_file(folder + ".dict", fuzz::dictionary_of(*target));
  }
}
