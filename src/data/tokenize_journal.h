// OUT/PREFIX.journal: how far an unfinished `saslm tokenize` has come.
//
// Lines of JSON. The first describes the job; each other is a state that the run can go on from, written once
// the tokens it counts are on the disk. The last whole line counts: one that was cut short by a kill is
// dropped.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "core/file.h"
#include "data/text_units.h"

namespace saslm {

struct TokenizeState {
  TextPosition next;                                             // where reading goes on
  int64_t bytes_read = 0;                                        // of all inputs, before that
  int64_t tokens = 0, bytes = 0, documents = 0, boundaries = 0;  // as in TokenizeResult
};

class TokenizeJournal {
 public:
  // `job` is one line of JSON, an object. Takes over the journal of the same job if there is one; DataError
  // when it is of another, naming the first key that differs, or in use by another process.
  TokenizeJournal(std::string path, const std::string& job);

  const std::optional<TokenizeState>& state() const { return state_; }  // when opened; nothing: begin anew
  void record(const TokenizeState& state);
  void remove();

 private:
  void append(const std::string& line);

  File file_;
  std::optional<TokenizeState> state_;
};

}  // namespace saslm
