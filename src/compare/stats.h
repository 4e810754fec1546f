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
  // All pairs differ by the same to nine digits, or runs ended alike: seeds that make no difference are no
  // evidence, but a sign that something is the same which should not be.
  bool suspicious = false;
  bool shown() const {
    return half_width && !suspicious && (mean - *half_width > 0 || mean + *half_width < 0);
  }
};
struct LossPair {
  double variant = 0, baseline = 0;
};
PairedDifference paired_difference(std::span<const LossPair> pairs);

// Losses (updates done, loss) with rising updates.
using LossCurve = std::vector<std::pair<double, double>>;

// The loss between two evaluations of a trained model: cubic in the logarithm of the step, with Fritsch and
// Butland's slopes, which never leaves the range of its two neighbours. Off by 0.004 nats at most between the
// first two of 10 to 50 evaluations, 0.0006 from there on (docs/experiments.md). The last loss after the last
// evaluation; nothing before the first of a trained model, since no line leads there from an untrained one.
std::optional<double> read_curve(const LossCurve& curve, double step);

double median(std::vector<double> values);  // at least one

// Decimals that show two digits of `spread`, `least` of them at least.
int decimals_for(double spread, int least = 4);
// Those that a difference is printed with: its claim, if it makes one, can be read off the digits.
int decimals_for(const PairedDifference& difference);
std::string decimal(double value, int decimals, bool with_sign = false);

// One sentence that claims no more than the interval allows, e.g.
//   "sas is better than mha by 0.0210 ± 0.0040 nats (95 %, 3 paired seeds) at equal tokens."
std::string claim(const std::string& variant, const std::string& baseline, const PairedDifference& difference,
                  const std::string& budget);

}  // namespace saslm
