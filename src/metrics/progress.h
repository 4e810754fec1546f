// The terminal's progress line as text; the app decides whether and where to print it.
//
//   step 1200/18865 | loss 3.2145 | val ppl 24.31 | lr 6.00e-04 | 612K tok/s | mfu 51.2% | eta 2h07m
#pragma once
#include <cstdint>
#include <optional>
#include <string>

namespace saslm {

std::string human_count(double n);           // 999, 1.23K, 45.6M, 1.20B
std::string human_bytes(int64_t n);          // 512 B, 4.50 GiB
std::string human_duration(double seconds);  // 4s, 2m05s, 1h02m, 3d04h; "?" when not finite or negative

// Exponentially weighted mean of the step time, unbiased from the first step.
class StepTimer {
 public:
  void add(double step_ms);
  // Seconds for `steps` more steps; nullopt before the first step.
  std::optional<double> seconds_for(int64_t steps) const;

 private:
  double sum_ms_ = 0, weight_ = 0;
};

struct Progress {
  int64_t step = 0, steps = 0;  // updates done and total
  double loss = 0;
  std::optional<double> val_ppl;  // of the last evaluation
  double lr = 0, tokens_per_s = 0;
  std::optional<double> mfu;  // fraction
  std::optional<double> eta_s;
};

// "step 250: evaluating 320/1000 sequences | 12s left"
std::string evaluation_line(const std::string& what, int64_t done, int64_t sequences,
                            std::optional<double> seconds_left);

// At most `width` ASCII characters, no newline; fields that do not fit are omitted, the least important
// first.
std::string progress_line(const Progress& progress, int width);

}  // namespace saslm
