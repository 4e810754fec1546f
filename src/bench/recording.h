// Which calls a model makes: a step of it is run on a table of operations that writes down their arguments
// and computes nothing, in memory that exists as addresses only. What is timed are therefore the shapes,
// strides and counts of the very calls that training makes. What is done once per run (rope_fill) and the
// table's memory verbs (copies, zeroing) are left out.
#pragma once
#include <vector>

#include "bench/kernel_call.h"
#include "config/config.h"

namespace saslm {

// The distinct calls of one micro-step (train.micro_batch sequences of train.seq_len tokens) and one update
// of each config, those of an operation together; call.repeats[i] is how often configs[i] makes it.
template <class T>
std::vector<KernelCall<T>> record_calls(const std::vector<Config>& configs);

// The distinct calls of a whole run: those above with what is done once and in evaluations, of two
// micro-batches, whose gradients are added up.
template <class T>
std::vector<KernelCall<T>> record_run(const Config& config);

// Every operation that a call can be of, by the name of its entry in Ops.
std::vector<std::string> operation_names();

// ConfigError when one of the names, which the user gave by --only, is not.
void check_operation_names(const std::vector<std::string>& only);

// The configs with sequences of T tokens, as many as make `tokens`, in one micro-batch.
std::vector<Config> at_length(std::vector<Config> configs, int64_t T, int64_t tokens);

}  // namespace saslm
