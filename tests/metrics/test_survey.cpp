#include <gtest/gtest.h>

#include "core/file.h"
#include "metrics/metrics_log.h"
#include "metrics/survey.h"
#include "tests/own_folder.h"

namespace saslm {
namespace {

std::string event(const std::string& kind, int64_t step, const std::string& more = "") {
  return R"({"event":")" + kind + R"(","step":)" + std::to_string(step) + more + "}\n";
}

std::string steps(int64_t first, int64_t last) {
  std::string text;
  for (int64_t step = first; step <= last; ++step) text += event("step", step);
  return text;
}

using Ranges = std::vector<StepRange>;

TEST(Survey, StepsThatAreMissingAreFoundInAnyOrder) {
  const MetricsSurvey survey = survey_metrics(steps(10, 12) + steps(0, 4) + steps(6, 6));
  EXPECT_EQ(survey.steps, (Ranges{{0, 4}, {6, 6}, {10, 12}}));
  EXPECT_EQ(survey.steps_end, 13);
  EXPECT_EQ(survey.repeated, 0);
  EXPECT_EQ(survey.missing(15), (Ranges{{5, 5}, {7, 9}, {13, 14}}));
  EXPECT_EQ(survey.missing(8), (Ranges{{5, 5}, {7, 7}}));
  EXPECT_TRUE(survey.missing(0).empty());
  EXPECT_TRUE(survey.missing(-1).empty());
  EXPECT_EQ(survey_metrics("").missing(2), (Ranges{{0, 1}}));
}

TEST(Survey, StepsTwiceAreCounted) {
  EXPECT_EQ(survey_metrics(steps(0, 4) + steps(3, 6)).repeated, 2);
  EXPECT_EQ(survey_metrics(steps(0, 4) + steps(0, 4) + steps(0, 4)).repeated, 10);
}

TEST(Survey, WhatIsNoEventIsCountedAndALineBeingWrittenIsNot) {
  const std::string zeros = std::string(8, '\0') + "\n";
  const MetricsSurvey survey =
      survey_metrics(zeros + "{\n[]\n{\"event\":1}\n" + steps(0, 0) + R"({"event":"st)");
  EXPECT_EQ(survey.lines, 5);
  EXPECT_EQ(survey.unreadable, 4);
  EXPECT_EQ(survey.steps_end, 1);
  for (const char* step : {"-1", "1.5", "9223372036854775807", "18446744073709551615", "\"2\""})
    EXPECT_TRUE(survey_metrics(R"({"event":"step","step":)" + std::string(step) + "}\n").steps.empty())
        << step;
}

TEST(Survey, AnEndWithoutItsEvaluationIsFound) {
  const std::string before = event("eval", 0, R"(,"val_loss":4)") + steps(0, 1), end = event("end", 2);
  EXPECT_TRUE(survey_metrics(before + end).lacks_last_eval());
  EXPECT_FALSE(survey_metrics(before + event("eval", 2, R"(,"val_loss":3.5)") + end).lacks_last_eval());
  EXPECT_EQ(survey_metrics(before + event("eval", 2, R"(,"val_loss":3.5)") + end).last_val_loss, 3.5);
  EXPECT_FALSE(survey_metrics(before + event("eval", 2, R"(,"val_loss":null)") + end).last_val_loss);
  EXPECT_FALSE(survey_metrics(before).lacks_last_eval()) << "it has not ended";
  EXPECT_FALSE(survey_metrics(steps(0, 1) + end).lacks_last_eval()) << "it has no validation set";
}

TEST(Survey, RangesAreWords) {
  EXPECT_EQ(to_text({{3, 7}, {9, 9}}), "3 to 7, 9");
  EXPECT_EQ(to_text({}), "");
  Ranges many;
  for (int64_t i = 0; i < 10; ++i) many.push_back({2 * i, 2 * i});
  EXPECT_EQ(to_text(many), "0, 2, 4, 6, 8, 10, 12, 14 and 2 more ranges");
}

TEST(Survey, WhatIsTakenAwayMayOverlap) {
  EXPECT_EQ(without({{0, 9}, {20, 29}}, {{5, 7}, {6, 22}, {25, 25}}), (Ranges{{0, 4}, {23, 24}, {26, 29}}));
  EXPECT_EQ(without({{0, 9}}, {}), (Ranges{{0, 9}}));
}

TEST(Survey, AHoleIsReportedOnceAndForgottenWhenItIsFilled) {
  const test::OwnFolder own;
  const std::string path = own / "metrics.jsonl";
  atomic_write_file(path, steps(0, 3));
  {
    MetricsLog log(path);
    const ResumeReport report = log.resume(6);
    EXPECT_EQ(report.missing, (Ranges{{4, 5}}));
    log.log_missing(report.missing);
  }
  EXPECT_TRUE(MetricsLog(path).resume(6).missing.empty());
  EXPECT_EQ(survey_metrics(read_file(path)).missing(6), (Ranges{{4, 5}})) << "the hole is still there";
  EXPECT_EQ(survey_metrics(read_file(path)).admitted, (Ranges{{4, 5}}));
  EXPECT_EQ(MetricsLog(path).resume(5).missing, (Ranges{{4, 4}}));
  EXPECT_TRUE(survey_metrics(read_file(path)).admitted.empty());
}

}  // namespace
}  // namespace saslm
