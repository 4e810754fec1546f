// Loss over a sample of a token set, set by set.
#pragma once
#include <functional>
#include <optional>
#include <vector>

#include "data/eval_sample.h"
#include "data/tokenizer.h"
#include "train/engine.h"

namespace saslm {

// Sums over the targets of some sequences.
struct EvalSum {
  double nats = 0;
  int64_t sequences = 0, targets = 0;
  std::optional<int64_t> text_bytes;  // bytes of text in these targets; absent without a tokenizer

  double loss() const { return nats / double(targets); }  // nats per target
  // Absent if text_bytes is absent or 0.
  std::optional<double> bits_per_byte() const;
};

struct EvalResult {
  std::vector<EvalSum> sets;  // in the order of EvalSample::sets; targets is 0 for a set without samples
  EvalSum all;
};

struct EvalOptions {
  int64_t batch = 1;                                // sequences at a time; a batch is of one set
  const Tokenizer* tokenizer = nullptr;             // counts the bytes of the text
  std::function<bool()> stop = {};                  // called before every round, on all ranks together
  std::function<void(int64_t done)> progress = {};  // called after every round with the sequences done
  std::function<void(int64_t, double nats)> each_batch = {};  // (first sample, sum of its losses), in order
};

// Evaluates the sample, with batches dealt to the engine's ranks. Losses are added in the order of batches
// within a set, and sets in ascending order of their sums, so results are bit-identical for any number of
// ranks and any order of files. Returns nothing if `stop` returned true. All ranks call it.
template <class T>
std::optional<EvalResult> evaluate(Engine<T>& engine, const TokenSet& set, const EvalSample& sample,
                                   const EvalOptions& options);

}  // namespace saslm
