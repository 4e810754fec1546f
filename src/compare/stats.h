// The statistics of a comparison, and the sentence they support. Pure functions.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace saslm {

// Quantile p, 0 < p < 1, of Student's t with `degrees` >= 1 degrees of freedom. Relative error 1e-10.
// Abramowitz & Stegun 26.7.3 and 26.7.4: finite sums for whole degrees.
double student_t_quantile(double p, int64_t degrees);

struct Summary {
  int64_t n = 0;
  double mean = 0;           // when n >= 1
  std::optional<double> sd;  // of the sample (n - 1 below); when n >= 2
};
Summary summarise(std::span<const double> values);

// Two variants with the same seed share the data order, so we test the mean of paired differences: mean ±
// t(0.975, n-1) sd/sqrt(n).
struct PairedDifference {
  int64_t pairs = 0;
  double mean = 0;                   // variant - baseline; negative is better
  std::optional<double> half_width;  // of the 95 % interval; when pairs >= 2
  // All differences agree to nine digits, or runs ended with equal losses. Seeds without effect are no
  // evidence, but a sign that two runs or variants are identical by mistake.
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

// Interpolates the loss between two evaluations of a trained model: cubic in log(step) with Fritsch-Butland
// slopes, which never leaves the range of its two neighbours. The error is at most 0.004 nats between the
// first two of 10 to 50 evaluations, and 0.0006 after them (docs/experiments.md). After the last evaluation:
// the last loss. Before the first evaluation of a trained model: nullopt, since a curve from the untrained
// model would be wrong.
std::optional<double> read_curve(const LossCurve& curve, double step);

double median(std::vector<double> values);  // at least one

// Number of decimals that shows two digits of `spread`; at least `least`.
int decimals_for(double spread, int least = 4);
// Number of decimals for a difference: enough to see its claim, if it makes one.
int decimals_for(const PairedDifference& difference);
std::string decimal(double value, int decimals, bool with_sign = false);

// One sentence that claims no more than the interval supports, e.g.
//   "sas is better than mha by 0.0210 ± 0.0040 nats (95 %, 3 paired seeds) at equal tokens."
std::string claim(const std::string& variant, const std::string& baseline, const PairedDifference& difference,
                  const std::string& budget);

}  // namespace saslm
