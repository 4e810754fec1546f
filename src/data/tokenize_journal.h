// OUT/PREFIX.journal: the progress of an unfinished `saslm tokenize`.
//
// Lines of JSON. The first describes the job; each other line is a state to resume from, written after its
// tokens are on disk. The last complete line counts; one that a kill cut short is dropped.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "core/file.h"
#include "data/text_units.h"

namespace saslm {

struct TokenizeState {
  TextPosition next;                                             // where reading continues
  int64_t bytes_read = 0;                                        // of all inputs, before that
  int64_t tokens = 0, bytes = 0, documents = 0, boundaries = 0;  // as in TokenizeResult
};

class TokenizeJournal {
 public:
  // `job` is a JSON object on one line. Takes over an existing journal of the same job. DataError if the
  // journal belongs to another job (with the first key that differs), or is in use by another process.
  TokenizeJournal(std::string path, const std::string& job);

  const std::optional<TokenizeState>& state() const {
    return state_;
  }  // when opened; nullopt: start from the beginning
  void record(const TokenizeState& state);
  void remove();

 private:
  void append(const std::string& line);

  File file_;
  std::optional<TokenizeState> state_;
};

}  // namespace saslm
