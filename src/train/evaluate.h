// Loss over a sample of a token set, set by set.
#pragma once
#include <functional>
#include <optional>
#include <vector>

#include "data/eval_sample.h"
#include "data/tokenizer.h"
#include "train/engine.h"

namespace saslm {

// Sums over targets.
struct EvalSum {
  double nats = 0;
  int64_t sequences = 0, targets = 0;
  std::optional<int64_t> text_bytes;  // of these very targets; nothing without a tokenizer

  double loss() const { return nats / double(targets); }  // nats per target
  // Nothing where the bytes are not known, or there are none.
  std::optional<double> bits_per_byte() const;
};

struct EvalResult {
  std::vector<EvalSum> sets;  // as EvalSample::sets; one that gave no sample has no targets
  EvalSum all;
};

struct EvalOptions {
  int64_t batch = 1;                                // sequences at a time; a batch is of one set
  const Tokenizer* tokenizer = nullptr;             // counts the bytes of the text
  std::function<bool()> stop = {};                  // asked before every round, by all ranks together
  std::function<void(int64_t done)> progress = {};  // after every round, of sequences
  std::function<void(int64_t, double nats)> each_batch = {};  // its first sample, its sum; in their order
};

// Batches are dealt to the engine's ranks; losses are added up in the order of the batches, sets from the
// least sum to the largest: so neither the number of ranks nor the order of files changes a bit. When `stop`
// says yes, nothing is returned.
template <class T>
std::optional<EvalResult> evaluate(Engine<T>& engine, const TokenSet& set, const EvalSample& sample,
                                   const EvalOptions& options);

}  // namespace saslm
