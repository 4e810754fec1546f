#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>

#include "compare/stats.h"

namespace saslm {
namespace {

// Values of any printed table of Student's distribution, to its four decimals; 1 and 2 degrees have closed
// forms.
TEST(StudentT, AgreesWithThePrintedTable) {
  const struct {
    double p;
    int64_t degrees;
    double t;
  } rows[] = {{0.975, 1, 12.7062},  {0.975, 2, 4.3027}, {0.975, 3, 3.1824},  {0.975, 4, 2.7764},
              {0.975, 5, 2.5706},   {0.975, 9, 2.2622}, {0.975, 10, 2.2281}, {0.975, 30, 2.0423},
              {0.975, 120, 1.9799}, {0.95, 7, 1.8946},  {0.995, 4, 4.6041},  {0.9995, 3, 12.9240}};
  for (const auto& row : rows)
    EXPECT_NEAR(student_t_quantile(row.p, row.degrees), row.t, 6e-5) << row.degrees;
}

TEST(StudentT, AgreesWithTheClosedFormsOfOneAndTwoDegrees) {
  for (const double p : {0.6, 0.9, 0.975, 0.9999}) {
    EXPECT_NEAR(student_t_quantile(p, 1), std::tan(3.14159265358979323846 * (p - 0.5)), 1e-8 / (1 - p));
    EXPECT_NEAR(student_t_quantile(p, 2), (2 * p - 1) / std::sqrt(2 * p * (1 - p)), 1e-8 / (1 - p));
  }
}

TEST(StudentT, IsOddAndBecomesTheNormalDistribution) {
  EXPECT_EQ(student_t_quantile(0.025, 6), -student_t_quantile(0.975, 6));
  EXPECT_NEAR(student_t_quantile(0.5, 3), 0, 1e-9);
  EXPECT_NEAR(student_t_quantile(0.975, 100000), 1.95996, 5e-5);
}

TEST(Summary, WorkedByHand) {
  const double values[] = {2, 4, 9};
  const Summary s = summarise(values);
  EXPECT_EQ(s.n, 3);
  EXPECT_DOUBLE_EQ(s.mean, 5);
  EXPECT_DOUBLE_EQ(s.sd.value(), std::sqrt(13.0));  // (9 + 1 + 16) / 2
}

TEST(Summary, OneValueHasNoDeviationAndNoneHasNothing) {
  const double one[] = {3};
  EXPECT_EQ(summarise(one).mean, 3);
  EXPECT_FALSE(summarise(one).sd);
  EXPECT_EQ(summarise({}).n, 0);
}

TEST(PairedDifference, WorkedByHand) {
  // Differences -0.1, -0.2, -0.3: mean -0.2, deviation 0.1, half width 4.3027 * 0.1 / sqrt(3).
  const LossPair pairs[] = {{2.9, 3.0}, {2.6, 2.8}, {3.2, 3.5}};
  const PairedDifference d = paired_difference(pairs);
  EXPECT_EQ(d.pairs, 3);
  EXPECT_NEAR(d.mean, -0.2, 1e-12);
  EXPECT_NEAR(d.half_width.value(), 0.248413, 2e-6);
  EXPECT_FALSE(d.shown());  // although all three seeds are better
}

TEST(PairedDifference, PairingSeesWhatTheSpreadOfSeedsHides) {
  const LossPair pairs[] = {{1.99, 2.0}, {2.989, 3.0}, {3.991, 4.0}};
  const PairedDifference d = paired_difference(pairs);
  EXPECT_NEAR(d.mean, -0.01, 1e-12);
  EXPECT_TRUE(d.shown());
}

TEST(PairedDifference, EqualLossesShowNoDifference) {
  const LossPair pairs[] = {{2, 2}, {3, 3}};
  EXPECT_EQ(paired_difference(pairs).half_width.value(), 0);
  EXPECT_FALSE(paired_difference(pairs).shown());
}

TEST(PairedDifference, SeedsThatMakeNoDifferenceAreSuspicious) {
  for (const double noise : {0.0, 1e-15}) {
    const LossPair pairs[] = {{2.9, 3.0}, {2.8 + noise, 2.9}, {3.0, 3.1}};
    const PairedDifference d = paired_difference(pairs);
    EXPECT_TRUE(d.suspicious) << noise;
    EXPECT_FALSE(d.shown()) << noise;
  }
  const LossPair fine[] = {{2.9, 3.0}, {2.80001, 2.9}};
  EXPECT_FALSE(paired_difference(fine).suspicious);
}

// ---- Reading a curve

TEST(ReadCurve, PassesThroughItsPointsAndHasNoneBeforeTheFirstTrainedOne) {
  const LossCurve curve = {{0, 10}, {10, 5}, {20, 4}, {40, 3.5}};
  for (size_t i = 1; i < curve.size(); ++i) EXPECT_EQ(read_curve(curve, curve[i].first), curve[i].second);
  EXPECT_EQ(read_curve(curve, 41), 3.5);
  for (const double step : {0.0, 5.0, 9.99}) EXPECT_FALSE(read_curve(curve, step)) << step;
  EXPECT_FALSE(read_curve({}, 1));
  EXPECT_FALSE(read_curve({{0, 10}}, 1));
}

TEST(ReadCurve, StaysBetweenItsNeighbours) {
  const LossCurve curve = {{10, 5}, {20, 3}, {30, 3.2}, {40, 1}};
  for (double step = 10; step <= 40; step += 0.5)
    for (size_t i = 1; i < curve.size(); ++i)
      if (curve[i - 1].first <= step && step <= curve[i].first) {
        const double loss = read_curve(curve, step).value();
        EXPECT_LE(loss, std::max(curve[i - 1].second, curve[i].second) + 1e-12) << step;
        EXPECT_GE(loss, std::min(curve[i - 1].second, curve[i].second) - 1e-12) << step;
      }
}

TEST(ReadCurve, IsALineInTheLogarithmBetweenTwoPoints) {
  EXPECT_NEAR(read_curve({{0, 9}, {10, 5}, {40, 3}}, 20).value(), 4, 1e-12);
}

// Curves of which the truth is known, evaluated at even steps as a comparison does: a power law, and one that
// a learning rate's cosine decay takes another 0.15 nats off. docs/experiments.md has the table.
struct Errors {
  double first = 0, later = 0;  // largest, read - true: between the first two evaluations, and from there on
  double chord_first = 0;       // of a straight line over steps
};
Errors errors_of(double power, double decay, int eval_points) {
  const double steps = 1000, every = steps / eval_points;
  const auto loss = [&](double t) {
    return 2 + 5 * std::pow(1 + t / 10, -power) - decay * (1 - std::cos(3.14159265358979 * t / steps)) / 2;
  };
  LossCurve curve = {{0, loss(0)}};
  for (int i = 1; i <= eval_points; ++i) curve.emplace_back(every * i, loss(every * i));
  Errors errors;
  for (double t = every; t <= steps; t += 1) {
    double& most = t < 2 * every ? errors.first : errors.later;
    most = std::max(most, std::abs(read_curve(curve, t).value() - loss(t)));
    if (t >= 2 * every) continue;
    const double part = (t - every) / every;
    errors.chord_first =
        std::max(errors.chord_first, (1 - part) * curve[1].second + part * curve[2].second - loss(t));
  }
  return errors;
}

TEST(ReadCurve, ItsErrorIsThatOfTheSimulationInTheDocumentation) {
  for (const int eval_points : {10, 20, 50})
    for (const double decay : {0.0, 0.15})
      for (const double power : {0.3, 0.6, 1.0}) {
        const Errors e = errors_of(power, decay, eval_points);
        std::printf(
            "%2d evaluations, power %.1f, decay %.2f: first two %.4f (chord %.4f), from there on %.4f nats\n",
            eval_points, power, decay, e.first, e.chord_first, e.later);
        EXPECT_LT(e.first, 0.004);
        EXPECT_LT(e.later, 0.0006);
        EXPECT_GT(e.chord_first, 0.03);  // what it is better than
      }
}

TEST(Median, OfOddAndEvenNumbers) {
  EXPECT_EQ(median({3}), 3);
  EXPECT_EQ(median({9, 1, 5}), 5);
  EXPECT_EQ(median({9, 1, 5, 3}), 4);
}

TEST(Claim, SaysBetterOrWorseOnlyWhenTheIntervalDoes) {
  const auto text = [](double mean, double half) {
    return claim("sas", "mha", {.pairs = 3, .mean = mean, .half_width = half}, "tokens");
  };
  EXPECT_EQ(text(-0.021, 0.004),
            "sas is better than mha by 0.0210 ± 0.0040 nats (95 %, 3 paired seeds) at equal tokens.");
  EXPECT_EQ(text(0.021, 0.004),
            "sas is worse than mha by 0.0210 ± 0.0040 nats (95 %, 3 paired seeds) at equal tokens.");
  EXPECT_EQ(
      text(-0.021, 0.021),
      "No difference between sas and mha could be shown at equal tokens: -0.0210 ± 0.0210 nats (95 %, 3 "
      "paired seeds).");
}

TEST(Claim, OneSeedIsNoEvidence) {
  const std::string text = claim("sas", "mha", {.pairs = 1, .mean = -0.5}, "FLOPs");
  EXPECT_NE(text.find("one seed gives no interval"), std::string::npos) << text;
  EXPECT_EQ(text.find("better"), std::string::npos) << text;
  EXPECT_NE(claim("sas", "mha", {}, "FLOPs").find("There is no result"), std::string::npos);
}

TEST(Claim, ItsDigitsCarryIt) {
  const auto text = [](double mean, std::optional<double> half, int64_t pairs = 3) {
    return claim("sas", "mha", {.pairs = pairs, .mean = mean, .half_width = half}, "tokens");
  };
  EXPECT_NE(text(-0.0000213, 0.0000042).find("better than mha by 0.0000213 ± 0.0000042 nats"),
            std::string::npos)
      << text(-0.0000213, 0.0000042);
  EXPECT_NE(text(-0.02104, 0.02101).find("by 0.02104 ± 0.02101 nats"), std::string::npos)
      << text(-0.02104, 0.02101);
  EXPECT_NE(text(2e-6, {}, 1).find("ended 0.0000020 nats above mha"), std::string::npos) << text(2e-6, {}, 1);
  EXPECT_NE(text(0, {}, 1).find("an identical loss"), std::string::npos) << text(0, {}, 1);
  EXPECT_NE(text(1e-9, 0.021).find("+0.0000 ± 0.0210"), std::string::npos) << text(1e-9, 0.021);
}

TEST(Claim, NoSpreadOverSeedsIsNamedAndNoClaim) {
  const auto text = [](double mean) {
    return claim("sas", "mha", {.pairs = 3, .mean = mean, .half_width = 0, .suspicious = true}, "tokens");
  };
  EXPECT_EQ(text(0),
            "sas and mha ended with identical losses with all 3 seeds at equal tokens: they "
            "seem to "
            "compute the same thing, so no difference is claimed.");
  EXPECT_NE(text(-0.1).find("different seeds gave identical losses"), std::string::npos) << text(-0.1);
  for (const double mean : {0.0, -0.1}) {
    EXPECT_EQ(text(mean).find("better"), std::string::npos);
    EXPECT_EQ(text(mean).find("±"), std::string::npos);
  }
}

}  // namespace
}  // namespace saslm
