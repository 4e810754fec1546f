// The statistics of a comparison, and the sentence they allow. Pure.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace saslm {

// The t that a Student variable with `degrees` >= 1 degrees of freedom stays below with probability p,
// 0 < p < 1. To 1e-10 relative. Abramowitz & Stegun 26.7.3 and 26.7.4: finite sums for whole degrees.
double student_t_quantile(double p, int64_t degrees);

struct Summary {
  int64_t n = 0;
  double mean = 0;           // when n >= 1
  std::optional<double> sd;  // of the sample (n - 1 below); when n >= 2
};
Summary summarise(std::span<const double> values);

// Losses of two variants under the same seed share the data order, so what is judged is the mean of their
// differences: mean ± t(0.975, n-1) sd/sqrt(n).
struct PairedDifference {
  int64_t pairs = 0;
  double mean = 0;                   // variant - baseline; negative is better
  std::optional<double> half_width;  // of the 95 % interval; when pairs >= 2
  bool shown() const { return half_width && (mean - *half_width > 0 || mean + *half_width < 0); }
};
struct LossPair {
  double variant = 0, baseline = 0;
};
PairedDifference paired_difference(std::span<const LossPair> pairs);

// Piecewise linear through (x, y) with rising x; the end's value outside. At least one point.
double interpolate(std::span<const std::pair<double, double>> points, double x);

double median(std::vector<double> values);  // at least one

// One sentence that claims no more than the interval allows, e.g.
//   "sas is better than mha by 0.0210 ± 0.0040 nats (95 %, 3 paired seeds) at equal tokens."
std::string claim(const std::string& variant, const std::string& baseline, const PairedDifference& difference,
                  const std::string& budget);

}  // namespace saslm
