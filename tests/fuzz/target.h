// One target per parser: bytes that anybody may have written go in; a documented error, or something
// consistent, comes out.
//
// The same functions run under libFuzzer (scripts/fuzz.sh) and in the ordinary tests, over their seeds and
// what was found before (test_replay.cpp).
#pragma once
#include <algorithm>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/file.h"

namespace saslm::fuzz {

struct Target {
  const char* name;
  // Whether the parser accepted. Throws what the parser must not throw, or a BrokenPromise; under libFuzzer
  // either ends the process.
  bool (*run)(std::string_view input);
  // Inputs that are accepted, made by the writers of the files where there are such.
  std::vector<std::string> (*seeds)();
  // What a mutation may put in besides the quoted words of the seeds.
  std::vector<std::string> words = {};
};

extern const Target kCompare, kConfig, kDialect, kGemmTable, kHub, kInput, kJournal, kJsonLine, kLauncher,
    kManifest, kMetrics, kPattern, kSafetensors, kShard, kShardInfo, kState, kTokenizer;

std::span<const Target* const> all_targets();

struct BrokenPromise : std::logic_error {
  using std::logic_error::logic_error;
};
inline void require(bool holds, const char* promise) {
  if (!holds) throw BrokenPromise(promise);
}

// Whether `parse` came to its end; false when it refused by the documented error.
template <class Documented, class Parse>
bool accepts(Parse parse) {
  try {
    parse();
    return true;
  } catch (const Documented& error) {
    require(*error.what() != '\0', "a refusal says why");
    return false;
  }
}

// A folder for parsers that read files; under $TMPDIR, which should be memory.
class Scratch {
 public:
  Scratch();
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  std::string write(const std::string& name, std::string_view bytes) const;  // returns its path

 private:
  std::string path_;
};

// The text before and after the first `mark`; all of it and "" when there is none.
std::pair<std::string_view, std::string_view> cut(std::string_view text, std::string_view mark);
// What stands after each further `mark`.
std::vector<std::string> cut_all(std::string_view rest, std::string_view mark);
// Takes bytes off the front of `input`; zeros where it is shorter.
template <class Value>
Value take(std::string_view& input) {
  Value value{};
  const size_t n = std::min(input.size(), sizeof value);
  input.copy(reinterpret_cast<char*>(&value), n);
  input.remove_prefix(n);
  return value;
}
template <class Value>
std::string raw(const std::vector<Value>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(Value)};
}

}  // namespace saslm::fuzz
