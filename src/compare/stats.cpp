#include "compare/stats.h"

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

constexpr int kMostDecimals = 12;
constexpr double kNoSpread = 1e-9;  // of losses; different seeds give differences of thousandths

// Fritsch & Butland 1984: the slope at a point between chords of slopes s0 and s1, over widths h0 and h1.
double slope_between(double s0, double h0, double s1, double h1) {
  if (s0 * s1 <= 0) return 0;
  const double w0 = 2 * h1 + h0, w1 = h1 + 2 * h0;
  return (w0 + w1) / (w0 / s0 + w1 / s1);
}

// At an end: of the parabola through it and the two points beside it, kept from turning.
double slope_at_end(double s0, double h0, double s1, double h1) {
  const double slope = ((2 * h0 + h1) * s0 - h0 * s1) / (h0 + h1);
  if (slope * s0 <= 0) return 0;
  return s0 * s1 < 0 && std::abs(slope) > 3 * std::abs(s0) ? 3 * s0 : slope;
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
  double scale = 1;
  for (const LossPair& pair : pairs)
    scale = std::max({scale, std::abs(pair.variant), std::abs(pair.baseline)});
  result.suspicious = summary.sd && *summary.sd <= kNoSpread * scale;
  return result;
}

std::optional<double> read_curve(const LossCurve& curve, double step) {
  const auto first =
      std::find_if(curve.begin(), curve.end(), [](const auto& point) { return point.first > 0; });
  if (first == curve.end() || step < first->first) return {};
  const auto above = std::find_if(first, curve.end(), [&](const auto& p) { return p.first >= step; });
  if (above == curve.end()) return curve.back().second;
  if (above->first == step) return above->second;
  const auto x = [&](auto point) { return std::log(point->first); };
  const auto width = [&](auto point) { return x(point) - x(point - 1); };  // of the stretch that ends there
  const auto chord = [&](auto point) { return (point->second - (point - 1)->second) / width(point); };
  const double h = width(above), s = chord(above);
  const bool before = above - 1 > first, after = above + 1 < curve.end();
  double left = s, right = s;
  if (before) left = slope_between(chord(above - 1), width(above - 1), s, h);
  if (after) right = slope_between(s, h, chord(above + 1), width(above + 1));
  if (!before && after) left = slope_at_end(s, h, chord(above + 1), width(above + 1));
  if (before && !after) right = slope_at_end(s, h, chord(above - 1), width(above - 1));
  const double t = (std::log(step) - x(above - 1)) / h, u = 1 - t;
  const double y0 = (above - 1)->second, y1 = above->second;
  return y0 * u * u * (1 + 2 * t) + y1 * t * t * (3 - 2 * t) + h * t * u * (left * u - right * t);
}

double median(std::vector<double> values) {
  check(!values.empty(), "a median needs a value");
  const auto middle = values.begin() + int64_t(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return 0.5 * (*middle + *std::max_element(values.begin(), middle));
}

int decimals_for(double spread, int least) {
  if (!(spread > 0) || !std::isfinite(spread)) return least;
  return std::clamp(1 - int(std::floor(std::log10(spread))), least, kMostDecimals);
}

int decimals_for(const PairedDifference& difference) {
  const double mean = std::abs(difference.mean);
  if (!difference.half_width || difference.suspicious) return decimals_for(mean);
  int decimals = decimals_for(*difference.half_width);
  const auto told_apart = [&] {
    return decimal(mean, decimals) != decimal(*difference.half_width, decimals);
  };
  while (difference.shown() && decimals < kMostDecimals && !told_apart()) ++decimals;
  return decimals;
}

std::string decimal(double value, int decimals, bool with_sign) {
  if (std::isnan(value)) return "not a number";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[512];  // the largest double has 309 digits
  std::snprintf(buffer, sizeof buffer, with_sign ? "%+.*f" : "%.*f", decimals, value);
  return buffer;
}

namespace {

std::string suspicion(const std::string& variant, const std::string& baseline, const PairedDifference& d,
                      const std::string& at) {
  const std::string seeds = std::to_string(d.pairs) + " seeds";
  if (d.mean == 0)
    return variant + " and " + baseline + " ended with identical losses with all " + seeds + at +
           ": they seem to compute the same thing, so no difference is claimed.";
  return variant + " and " + baseline + " differ by " + decimal(d.mean, decimals_for(d), true) + " nats" +
         at + " (" + seeds +
         "), but different seeds gave identical losses: there is no interval, and nothing is claimed.";
}

}  // namespace

std::string claim(const std::string& variant, const std::string& baseline, const PairedDifference& difference,
                  const std::string& budget) {
  const std::string at = " at equal " + budget;
  if (difference.pairs == 0)
    return "There is no result for " + variant + " against " + baseline + at + ": no seed finished in both.";
  const int decimals = decimals_for(difference);
  const std::string distance = decimal(std::abs(difference.mean), decimals);
  if (!difference.half_width) {
    if (difference.mean == 0)
      return "With only one seed, " + variant + " and " + baseline + " ended with an identical loss" + at +
             ".";
    const std::string side = difference.mean < 0 ? " below " : " above ";
    return "With only one seed, " + variant + " ended " + distance + " nats" + side + baseline + at +
           "; one seed gives no interval: this may be chance.";
  }
  if (difference.suspicious) return suspicion(variant, baseline, difference, at);
  const std::string interval = " ± " + decimal(*difference.half_width, decimals) + " nats (95 %, " +
                               std::to_string(difference.pairs) + " paired seeds)";
  if (!difference.shown())
    return "No difference between " + variant + " and " + baseline + " could be shown" + at + ": " +
           decimal(difference.mean, decimals, true) + interval + ".";
  return variant + (difference.mean < 0 ? " is better than " : " is worse than ") + baseline + " by " +
         distance + interval + at + ".";
}

}  // namespace saslm
