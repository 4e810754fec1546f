// The peak that MFU refers to: dense bf16 matrix products with fp32 sums, from the GPUs' data sheets.
#pragma once
#include <optional>
#include <string>

#include "config/config.h"
#include "core/platform.h"

namespace saslm {

// TFLOP/s of a GPU by its CUDA name; absent for a GPU without a known figure and for a partition of a GPU
// (MIG).
std::optional<double> dense_bf16_tflops(const std::string& gpu);

struct Peak {
  double tflops = 0;  // of one rank's device; 0: unknown
  std::string from;   // its source, or how to set it if unknown; "" on a CPU, whose peak is rarely known
};
// runtime.peak_tflops if given, else the peak of a GPU that computes in bf16.
Peak peak_of(const RuntimeConfig& runtime, const Platform& platform, bool bf16);

// MFU, as a fraction, of ranks that together process tokens_per_s; absent if the peak is unknown.
std::optional<double> mfu_of(double flops_per_token, double tokens_per_s, const Peak& peak, int ranks);

}  // namespace saslm
