// Tokens of one call of the model: B sequences of T positions, in host memory. What is known of each position
// beside its token goes here, so that loader, engine and model pass it on without naming it.
#pragma once
#include <cstdint>
#include <vector>

#include "core/view.h"

namespace saslm {

struct TokenBatch {
  Mat<const int32_t> inputs;   // [B, T]
  Mat<const int32_t> targets;  // [B, T]: targets[b][t] follows inputs[b][t]; absent where no loss is computed
  int64_t start = 0;           // position of column 0; above 0 only where a cache holds the positions before

  int64_t B() const { return inputs.rows; }
  int64_t T() const { return inputs.cols; }
};

// Where one sequence is read to.
struct TokenRow {
  Vec<int32_t> inputs, targets;  // [T]
};

// Memory of a batch that is read from data.
class TokenBuffer {
 public:
  TokenBuffer(int64_t B, int64_t T) : B_(B), T_(T), inputs_(size_t(B * T)), targets_(inputs_.size()) {}

  int64_t B() const { return B_; }
  int64_t T() const { return T_; }
  TokenRow row(int64_t b) { return {{inputs_.data() + b * T_, T_}, {targets_.data() + b * T_, T_}}; }
  // Views of the first B sequences.
  TokenBatch first(int64_t B) const {
    return {.inputs = mat(inputs_.data(), B, T_), .targets = mat(targets_.data(), B, T_)};
  }
  TokenBatch batch() const { return first(B_); }

 private:
  int64_t B_, T_;
  std::vector<int32_t> inputs_, targets_;
};

}  // namespace saslm
