// What a comparison reads off a run's metrics.jsonl, whatever stands in it.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <limits>

#include "compare/metrics.h"
#include "metrics/metrics_log.h"
#include "tests/own_folder.h"

namespace saslm {
namespace {

using Status = RunRecord::Status;

std::string step(int n, bool skipped = false) {
  return "{\"event\":\"step\",\"step\":" + std::to_string(n) + ",\"loss\":3.0,\"step_ms\":2.0" +
         (skipped ? ",\"skipped\":\"loss is not finite\"" : "") + "}\n";
}
std::string eval(int n, const std::string& loss) {
  return "{\"event\":\"eval\",\"step\":" + std::to_string(n) + ",\"val_loss\":" + loss + "}\n";
}
const std::string kEnd = "{\"event\":\"end\",\"step\":2}\n";

TrainConfig two_steps() {
  TrainConfig train;
  train.steps = 2;
  train.max_bad_steps = 2;
  return train;
}

TEST(ReadRun, AFinishedRunHasItsEnd) {
  const std::string text =
      "{\"event\":\"start\"}\n" + eval(0, "5.0") + step(0) + step(1) + eval(2, "4.0") + kEnd;
  const RunRecord run = read_run(text, two_steps());
  EXPECT_EQ(run.status, Status::finished);
  EXPECT_EQ(run.steps_done, 2);
  EXPECT_EQ(run.final_loss(), 4.0);
  EXPECT_EQ(run.evals.size(), 2u);
  EXPECT_EQ(run.speed.value().median_ms, 2);
  EXPECT_EQ(run.seconds, 0.004);
}

TEST(ReadRun, WithoutItsEndARunIsPartialAndATornLineDoesNotCount) {
  EXPECT_EQ(read_run("", two_steps()).status, Status::missing);
  const std::string text = eval(0, "5.0") + step(0) + step(1) + eval(2, "4.0");
  EXPECT_EQ(read_run(text, two_steps()).status, Status::partial);
  EXPECT_EQ(read_run(text + "{\"event\":\"end\",\"step\":2}", two_steps()).status, Status::partial);
}

TEST(ReadRun, AnEndBeforeTheStepsWereDoneIsNone) {
  TrainConfig longer = two_steps();
  longer.steps = 3;
  EXPECT_EQ(read_run(step(0) + step(1) + eval(2, "4.0") + kEnd, longer).status, Status::partial);
}

TEST(ReadRun, RefusedStepsInARowAreADivergence) {
  EXPECT_EQ(read_run(eval(0, "5.0") + step(0, true) + step(1, true), two_steps()).status, Status::diverged);
  EXPECT_EQ(read_run(eval(0, "5.0") + step(0, true) + step(1), two_steps()).status, Status::partial);
}

TEST(ReadRun, ALastLossThatIsNotFiniteIsADivergence) {
  const std::string text = eval(0, "5.0") + step(0) + step(1) + eval(2, "null") + kEnd;
  EXPECT_EQ(read_run(text, two_steps()).status, Status::diverged);
}

TEST(ReadRun, ALostLastEvaluationIsNoEarlierLoss) {
  const std::string before = eval(0, "5.0") + step(0) + eval(1, "4.5") + step(1);
  for (const std::string& lost : {std::string(), std::string("\xff\xfe\n"), std::string(20, '\0') + "\n",
                                  std::string("{\"event\":\"eval\",\"step\":2,\"val_loss\":\"x\"}\n")}) {
    const RunRecord run = read_run(before + lost + kEnd, two_steps());
    EXPECT_EQ(run.status, Status::partial) << lost;
    EXPECT_TRUE(run.last_eval_lost) << lost;
    EXPECT_EQ(run.unreadable, lost.empty() ? 0 : 1) << lost;
  }
  EXPECT_FALSE(read_run(before + eval(2, "4.0") + kEnd, two_steps()).last_eval_lost);
}

TEST(ReadRun, ALineThatIsNotReadableCostsNoOther) {
  for (const char* bad : {"\xff\n", "{\"event\":\"step\",\"step\":-1,\"step_ms\":1}\n", "7\n",
                          "{\"event\":7}\n", "{\"event\":\"step\",\"step\":1,\"loss\":1}\n",
                          "{\"event\":\"eval\",\"step\":\"two\",\"val_loss\":1}\n",
                          "{\"event\":\"eval\",\"step\":1,\"val_loss\":1e999}\n"}) {
    const std::string text = eval(0, "5.0") + step(0) + bad + step(1) + eval(2, "4.0") + kEnd;
    const RunRecord run = read_run(text, two_steps());
    EXPECT_EQ(run.status, Status::finished) << bad;
    EXPECT_EQ(run.unreadable, 1) << bad;
    EXPECT_EQ(run.final_loss(), 4.0) << bad;
  }
}

// Written as MetricsLog does, and not.
TEST(ReadRun, AStepTimeThatIsNoneCostsTheTimeAlone) {
  for (const char* ms : {"-2.0", "0", "1e300", "1e-9", "null", "\"fast\"", "[2.0]"})
    for (const char* rest : {",\"tokens_per_s\":1.0,\"mfu\":null}\n", "}\n"}) {
      const std::string bad =
          "{\"event\":\"step\",\"step\":1,\"loss\":2.0,\"grad_norm\":1.0,\"lr\":0.1,\"tokens\":8,\"step_"
          "ms\":";
      const RunRecord run =
          read_run(eval(0, "5.0") + step(0) + bad + ms + rest + eval(2, "4.0") + kEnd, two_steps());
      EXPECT_EQ(run.status, Status::finished) << ms;
      EXPECT_EQ(run.steps_done, 2) << ms;
      EXPECT_EQ(run.untimed, 1) << ms;
      EXPECT_EQ(run.unreadable, 0) << ms;
      EXPECT_EQ(run.training.size(), 2u) << ms;
      EXPECT_EQ(run.speed.value().slowest_ms, 2) << ms;
      EXPECT_EQ(run.seconds, 0.002) << ms;
    }
}

TEST(ReadRun, AnEvaluationMadeAgainReplacesTheFirst) {
  const RunRecord run =
      read_run(eval(0, "5.0") + step(0) + step(1) + eval(2, "4.0") + eval(2, "4.25") + kEnd, two_steps());
  EXPECT_EQ(run.evals, (LossCurve{{0, 5.0}, {2, 4.25}}));
}

TEST(ReadRun, BitsPerByteAreThoseOfTheLastEvaluation) {
  const auto with = [](const char* bpb) {
    return std::string("{\"event\":\"eval\",\"step\":2,\"val_loss\":4.0,\"val_bpb\":") + bpb + "}\n";
  };
  EXPECT_EQ(read_run(step(0) + step(1) + with("1.5") + kEnd, two_steps()).bits_per_byte, 1.5);
  EXPECT_FALSE(read_run(step(0) + step(1) + with("null") + kEnd, two_steps()).bits_per_byte);
}

TEST(ReadRun, TheSpeedOfARunIsThatOfItsQuartersToo) {
  TrainConfig train;
  train.steps = 80;
  std::string text;
  for (int n = 0; n < 80; ++n) {
    char line[100];
    std::snprintf(line, sizeof line, "{\"event\":\"step\",\"step\":%d,\"loss\":3.0,\"step_ms\":%d.0}\n", n,
                  n == 7    ? 900  // one slow step says nothing
                  : n >= 60 ? 17
                            : 5);
    text += line;
  }
  const RunSpeed speed = read_run(text, train).speed.value();
  EXPECT_EQ(speed.median_ms, 5);
  EXPECT_EQ(speed.fastest_ms, 5);
  EXPECT_EQ(speed.slowest_ms, 17);
}

// ---- The short way through a step's line

TEST(ScanStep, TakesWhatMetricsLogWrites) {
  const test::OwnFolder folder;
  const std::string path = folder / "metrics.jsonl";
  {
    MetricsLog log(path);
    const double nan = std::numeric_limits<double>::quiet_NaN();
    log.log_step({.step = 0, .loss = 10.825, .grad_norm = 1.25e-7, .lr = 6e-05, .tokens = 8, .step_ms = 2.5});
    log.log_step(
        {.step = 123456, .loss = nan, .grad_norm = nan, .step_ms = 1e-5, .mfu = 0.5, .aux_loss = 1.5});
  }
  const std::string text = read_file(path);
  const size_t cut = text.find('\n');
  StepLine line;
  ASSERT_TRUE(scan_step(std::string_view(text).substr(0, cut), line)) << text;
  EXPECT_EQ(line.step, 0);
  EXPECT_EQ(line.loss, 10.825);
  EXPECT_EQ(line.step_ms, 2.5);
  ASSERT_TRUE(scan_step(std::string_view(text).substr(cut + 1, text.size() - cut - 2), line)) << text;
  EXPECT_EQ(line.step, 123456);
  EXPECT_FALSE(line.loss);
  EXPECT_EQ(line.step_ms, 1e-5);
}

TEST(ScanStep, LeavesAllElseToTheLibrary) {
  const std::string head = "{\"event\":\"step\",\"step\":1,\"loss\":",
                    middle = ",\"grad_norm\":1,\"lr\":0.1,\"tokens\":8";
  const std::string tail = ",\"step_ms\":2.5,\"tokens_per_s\":3.2,\"mfu\":null}";
  StepLine line;
  EXPECT_TRUE(scan_step(head + "3.5" + middle + tail, line));
  for (const char* number : {"inf", "nan", "1.", ".5", "01", "+1", "-", "1e", "1e999", "0x1", "", "\"3\""})
    EXPECT_FALSE(scan_step(head + number + middle + tail, line)) << number;
  EXPECT_FALSE(scan_step(head + "3.5" + middle + tail + " ", line));
  EXPECT_FALSE(scan_step(head + "3.5" + middle + ",\"skipped\":\"spike\"" + tail, line));
}

// Anything that looks through the rest of the file at every line takes minutes for this.
TEST(ReadRun, TakesTimeInProportionToItsLength) {
  constexpr int kSteps = 100000;
  std::string text;
  for (int n = 0; n < kSteps; ++n) {
    char line[256];
    std::snprintf(
        line, sizeof line,
        "{\"event\":\"step\",\"step\":%d,\"loss\":3.%06d,\"grad_norm\":1.23456789012345,\"lr\":0.0003,"
        "\"tokens\":%d,\"step_ms\":51.2345678,\"tokens_per_s\":160000.123%s\"mfu\":null}\n",
        n, n, n * 8192 % 1000000007, n % 10 == 0 ? ", " : ",");
    text += line;  // every tenth goes the library's way
  }
  TrainConfig train;
  train.steps = kSteps;
  const auto begin = std::chrono::steady_clock::now();
  const RunRecord run = read_run(text, train);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  EXPECT_EQ(run.steps_done, kSteps);
  EXPECT_EQ(run.unreadable, 0);
  EXPECT_LE(run.training.size(), 500u);
  EXPECT_LT(took.count(), 8);
}

}  // namespace
}  // namespace saslm
