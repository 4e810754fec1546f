#include "train/compare_stats.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numbers>

#include "core/error.h"

namespace saslm {
namespace {

// P(|T| <= t) for t >= 0, with theta = atan(t / sqrt(degrees)).
double central_probability(double t, int64_t degrees) {
  const double theta = std::atan(t / std::sqrt(double(degrees)));
  const double sine = std::sin(theta), cosine = std::cos(theta), cosine2 = cosine * cosine;
  const bool odd = degrees % 2 == 1;
  // odd: cos + 2/3 cos^3 + (2·4)/(3·5) cos^5 + …   even: 1 + 1/2 cos^2 + (1·3)/(2·4) cos^4 + …
  double term = odd ? cosine : 1, sum = 0;
  for (int64_t power = odd ? 1 : 0; power <= degrees - 2; power += 2) {
    sum += term;
    term *= cosine2 * double(power + 1) / double(power + 2);
  }
  return odd ? 2 / std::numbers::pi * (theta + sine * sum) : sine * sum;
}

std::string nats(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.4f", value);
  return buffer;
}

}  // namespace

double student_t_quantile(double p, int64_t degrees) {
  check(p > 0 && p < 1 && degrees >= 1, "0 < p < 1 and at least one degree of freedom");
  if (p < 0.5) return -student_t_quantile(1 - p, degrees);
  const double central = 2 * p - 1;
  double low = 0, high = 1;
  while (central_probability(high, degrees) < central) high *= 2;
  while (high - low > 1e-12 * high) {
    const double middle = 0.5 * (low + high);
    if (middle == low || middle == high) break;
    (central_probability(middle, degrees) < central ? low : high) = middle;
  }
  return 0.5 * (low + high);
}

Summary summarise(std::span<const double> values) {
  Summary summary{.n = int64_t(values.size())};
  if (values.empty()) return summary;
  for (const double x : values) summary.mean += x;
  summary.mean /= double(summary.n);
  if (summary.n < 2) return summary;
  double squares = 0;
  for (const double x : values) squares += (x - summary.mean) * (x - summary.mean);
  summary.sd = std::sqrt(squares / double(summary.n - 1));
  return summary;
}

PairedDifference paired_difference(std::span<const LossPair> pairs) {
  std::vector<double> differences;
  for (const LossPair& pair : pairs) differences.push_back(pair.variant - pair.baseline);
  const Summary summary = summarise(differences);
  PairedDifference result{.pairs = summary.n, .mean = summary.mean};
  if (summary.sd)
    result.half_width = student_t_quantile(0.975, summary.n - 1) * *summary.sd / std::sqrt(double(summary.n));
  return result;
}

double interpolate(std::span<const std::pair<double, double>> points, double x) {
  check(!points.empty(), "a curve has at least one point");
  const auto above = std::find_if(points.begin(), points.end(), [&](const auto& p) { return p.first >= x; });
  if (above == points.begin()) return points.front().second;
  if (above == points.end()) return points.back().second;
  const auto below = above - 1;
  const double fraction = (x - below->first) / (above->first - below->first);
  return below->second + fraction * (above->second - below->second);
}

double median(std::vector<double> values) {
  check(!values.empty(), "a median needs a value");
  const auto middle = values.begin() + int64_t(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return 0.5 * (*middle + *std::max_element(values.begin(), middle));
}

std::string claim(const std::string& variant, const std::string& baseline, const PairedDifference& difference,
                  const std::string& budget) {
  const std::string at = " at equal " + budget;
  if (difference.pairs == 0)
    return "Nothing can be said of " + variant + " against " + baseline + at +
           ": there is no seed with which both finished.";
  if (!difference.half_width) {
    const std::string side = difference.mean < 0 ? " below " : " above ";
    return "With the one seed there is, " + variant + " ended " + nats(std::abs(difference.mean)) + " nats" +
           side + baseline + at + "; one seed gives no interval, so this may be chance.";
  }
  const std::string interval = " ± " + nats(*difference.half_width) + " nats (95 %, " +
                               std::to_string(difference.pairs) + " paired seeds)";
  if (!difference.shown())
    return "No difference between " + variant + " and " + baseline + " could be shown" + at + ": " +
           (difference.mean < 0 ? "" : "+") + nats(difference.mean) + interval + ".";
  return variant + (difference.mean < 0 ? " is better than " : " is worse than ") + baseline + " by " +
         nats(std::abs(difference.mean)) + interval + at + ".";
}

}  // namespace saslm
