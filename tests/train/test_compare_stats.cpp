#include <gtest/gtest.h>

#include <cmath>

#include "train/compare_stats.h"

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

TEST(Interpolate, IsLinearBetweenPointsAndConstantOutside) {
  const std::pair<double, double> points[] = {{0, 5}, {10, 3}, {20, 2}};
  for (const auto& [x, y] :
       {std::pair{-1.0, 5.0}, {0.0, 5.0}, {5.0, 4.0}, {10.0, 3.0}, {12.0, 2.8}, {25.0, 2.0}})
    EXPECT_DOUBLE_EQ(interpolate(points, x), y) << x;
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
  EXPECT_NE(claim("sas", "mha", {}, "FLOPs").find("Nothing can be said"), std::string::npos);
}

}  // namespace
}  // namespace saslm
