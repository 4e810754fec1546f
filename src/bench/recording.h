// Records the calls that a model makes: a step runs on a table of operations that stores their arguments and
// computes nothing, on reserved addresses without memory. So the timed shapes, strides and counts are exactly
// those of training. Operations done once per run (rope_fill) and memory operations (copies, zeroing) are
// omitted.
#pragma once
#include <vector>

#include "bench/kernel_call.h"
#include "config/config.h"

namespace saslm {

// The distinct calls of one micro-batch (train.micro_batch sequences of train.seq_len tokens) and one update
// of each config, grouped by operation; configs[i] makes a call call.repeats[i] times.
template <class T>
std::vector<KernelCall<T>> record_calls(const std::vector<Config>& configs);

// The distinct calls of a whole run: those above, those made once and in evaluations, and those of two
// micro-batches with gradient accumulation.
template <class T>
std::vector<KernelCall<T>> record_run(const Config& config);

// The names of all operations, as in Ops.
std::vector<std::string> operation_names();

// ConfigError if a name from --only is not an operation.
void check_operation_names(const std::vector<std::string>& only);

// The configs with one micro-batch of `tokens` tokens in sequences of T.
std::vector<Config> at_length(std::vector<Config> configs, int64_t T, int64_t tokens);

}  // namespace saslm
