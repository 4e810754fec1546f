// What MFU is measured against: dense bf16 products with fp32 sums, as the cards' data sheets have them.
#pragma once
#include <optional>
#include <string>

#include "config/config.h"
#include "core/platform.h"

namespace saslm {

// TFLOP/s of a card by the name that CUDA has for it; none where we know no figure for it, or for the part of
// a card.
std::optional<double> dense_bf16_tflops(const std::string& gpu);

struct Peak {
  double tflops = 0;  // of one rank's device; 0: not known
  std::string
      from;  // where it is from or, in place of it, how to give it; "" on a CPU, whose peak is seldom known
};
// runtime.peak_tflops where it is given, else that of a GPU that computes in bf16.
Peak peak_of(const RuntimeConfig& runtime, const Platform& platform, bool bf16);

// Of ranks that compute so many tokens a second together, as a fraction; none where no peak is known.
std::optional<double> mfu_of(double flops_per_token, double tokens_per_s, const Peak& peak, int ranks);

}  // namespace saslm
