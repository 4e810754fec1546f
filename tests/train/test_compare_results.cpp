// Results from metrics made up for the purpose, so that every number can be worked by hand.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "train/compare_report.h"

namespace saslm {
namespace {

using nlohmann::json;
using Status = RunRecord::Status;

VariantPlan variant(const std::string& name, int64_t steps, double flops_per_token) {
  VariantPlan v{.name = name};
  v.config.train.steps = steps;
  v.plan.tokens_per_step = 100;
  v.plan.tokens_total = 100 * steps;
  v.plan.flops_per_token = flops_per_token;
  v.plan.parameters = 5000;
  v.plan.arena_bytes = 4096;
  v.attention_parameters = 2000;
  return v;
}

// Loss falls in a line from 5 to `last` over the steps.
RunRecord finished(int64_t steps, double last, double step_ms) {
  RunRecord run{.status = Status::finished, .steps_done = steps};
  for (int part = 0; part <= 4; ++part)
    run.evals.emplace_back(double(steps) * part / 4, 5 + (last - 5) * part / 4);
  run.step_ms.assign(size_t(steps), step_ms);
  return run;
}

// b costs twice the FLOPs and three times the time of a.
ComparePlan two_variants(Budget budget, int64_t steps_b) {
  ComparePlan plan{.budget = budget, .eval_points = 4, .seeds = {1, 2, 3}};
  plan.variants = {variant("a", 40, 10), variant("b", steps_b, 20)};
  plan.budget_value = budget == Budget::tokens ? 4000 : 40000;
  return plan;
}

CompareResults three_seeds(const ComparePlan& plan) {
  const int64_t steps_b = plan.variants[1].config.train.steps;
  return compile_results(
      plan, {{finished(40, 3.0, 10), finished(40, 3.1, 10), finished(40, 3.2, 10)},
             {finished(steps_b, 2.9, 30), finished(steps_b, 2.99, 30), finished(steps_b, 3.11, 30)}});
}

TEST(CompareResults, FinalLossesAreSummarisedOverSeeds) {
  const CompareResults r = three_seeds(two_variants(Budget::tokens, 40));
  EXPECT_NEAR(r.variants[0].loss.mean, 3.1, 1e-12);
  EXPECT_NEAR(r.variants[0].loss.sd.value(), 0.1, 1e-12);
  EXPECT_NEAR(r.variants[1].ppl.mean, (std::exp(2.9) + std::exp(2.99) + std::exp(3.11)) / 3, 1e-12);
  EXPECT_TRUE(r.complete());
}

TEST(CompareResults, TheBudgetItselfIsComparedAtTheEnds) {
  const CompareResults r = three_seeds(two_variants(Budget::tokens, 40));
  const Reading& reading = r.variants[1].at[size_t(Budget::tokens)];
  EXPECT_TRUE(reading.at_end);
  EXPECT_NEAR(reading.difference.mean, -0.1, 1e-12);  // -0.1, -0.11, -0.09
  EXPECT_NEAR(reading.difference.half_width.value(), 4.302653 * 0.01 / std::sqrt(3.0), 1e-7);
  EXPECT_EQ(r.variants[1].sentence,
            "b is better than a by 0.1000 ± 0.0248 nats (95 %, 3 paired seeds) at equal tokens.");
  EXPECT_EQ(r.variants[0].sentence, "a is the baseline.");
}

TEST(CompareResults, OtherAmountsAreReadOffTheCurves) {
  const CompareResults r = three_seeds(two_variants(Budget::tokens, 40));
  // a ends at 40 000 FLOPs; there b has done 20 of 40 steps: halfway between 5 and its last loss.
  const Reading& flops = r.variants[1].at[size_t(Budget::flops)];
  EXPECT_FALSE(flops.at_end);
  EXPECT_NEAR(r.common[size_t(Budget::flops)].value(), 40000, 1e-9);
  EXPECT_NEAR(flops.loss.mean, (5 + 3.0) / 2, 1e-12);
  EXPECT_NEAR(flops.difference.mean, 4 - 3.1, 1e-12);
  // a ends after 0.4 s; there b has done 13 1/3 steps, a third of its way.
  const Reading& time = r.variants[1].at[size_t(Budget::seconds)];
  EXPECT_NEAR(r.common[size_t(Budget::seconds)].value(), 0.4, 1e-12);
  EXPECT_NEAR(time.loss.mean, 5 - 2.0 / 3, 1e-12);
  EXPECT_FALSE(time.at_end);
}

TEST(CompareResults, UnderEqualFlopsTheBaselineIsReadBeforeItsEndAtEqualTokens) {
  const CompareResults r = three_seeds(two_variants(Budget::flops, 20));
  EXPECT_TRUE(r.variants[1].at[size_t(Budget::flops)].at_end);
  EXPECT_NEAR(r.variants[1].at[size_t(Budget::flops)].difference.mean, -0.1, 1e-12);
  const Reading& tokens = r.variants[1].at[size_t(Budget::tokens)];  // at 2000: a halfway, b at its end
  EXPECT_FALSE(tokens.at_end);
  EXPECT_NEAR(tokens.difference.mean, 3.0 - (5 + 3.1) / 2, 1e-12);
  EXPECT_NE(results_markdown(r).find("†"), std::string::npos);
}

TEST(CompareResults, ADivergedRunIsShownAndLeftOutOfEveryMean) {
  const ComparePlan plan = two_variants(Budget::tokens, 40);
  RunRecord bad{.status = Status::diverged, .steps_done = 7};
  bad.evals = {{0, 5}};
  const CompareResults r =
      compile_results(plan, {{finished(40, 3.0, 10), finished(40, 3.1, 10), finished(40, 3.2, 10)},
                             {finished(40, 2.9, 30), bad, finished(40, 3.11, 30)}});
  EXPECT_TRUE(r.complete());
  EXPECT_EQ(r.variants[1].loss.n, 2);
  EXPECT_EQ(r.variants[1].at[0].difference.pairs, 2);
  EXPECT_NE(r.variants[1].sentence.find("It diverged with seed 2"), std::string::npos)
      << r.variants[1].sentence;
  const json j = json::parse(results_json(r));
  EXPECT_EQ(j["runs"][3]["status"], "diverged");
  EXPECT_TRUE(j["runs"][3]["val_loss"].is_null());
  EXPECT_NE(results_text(r).find("2/3, 1 diverged"), std::string::npos);
}

TEST(CompareResults, WhatIsMissingIsSaid) {
  const CompareResults r = compile_results(
      two_variants(Budget::tokens, 40), {{finished(40, 3.0, 10), {}, {}}, {finished(40, 2.9, 30), {}, {}}});
  EXPECT_FALSE(r.complete());
  EXPECT_EQ(r.count(Status::missing), 4);
  EXPECT_NE(r.variants[1].sentence.find("one seed gives no interval"), std::string::npos);
  EXPECT_NE(r.variants[1].sentence.find("Runs still to be done: 2."), std::string::npos);
}

TEST(CompareResults, NothingDoneIsNoError) {
  const CompareResults r = compile_results(two_variants(Budget::tokens, 40), {{{}, {}, {}}, {{}, {}, {}}});
  EXPECT_FALSE(r.complete());
  EXPECT_NE(r.variants[1].sentence.find("Nothing can be said"), std::string::npos);
  for (const auto& text : {results_json(r), results_csv(r), results_markdown(r), results_text(r)})
    EXPECT_FALSE(text.empty());
}

TEST(CompareResults, ClocksChangeNothingOutsideTheirPlaces) {
  const ComparePlan plan = two_variants(Budget::tokens, 40);
  const auto at_speed = [&](double ms) {
    return compile_results(plan, {{finished(40, 3, ms), finished(40, 3, ms), finished(40, 3, ms)},
                                  {finished(40, 2, 5), finished(40, 2, 5), finished(40, 2, 5)}});
  };
  json fast = json::parse(results_json(at_speed(10))), slow = json::parse(results_json(at_speed(1000)));
  EXPECT_NE(fast, slow);
  for (json* j : {&fast, &slow})
    for (const char* list : {"variants", "runs"})
      for (json& entry : (*j)[list]) entry.erase("timing");
  EXPECT_EQ(fast, slow);
}

TEST(CompareResults, RunsOfOneVariantAtUnlikeSpeedsAreTold) {
  const auto notes_at = [](double ms) {
    return json::parse(
               results_json(compile_results(two_variants(Budget::tokens, 40),
                                            {{finished(40, 3, 10), finished(40, 3, 10), finished(40, 3, 10)},
                                             {finished(40, 2, 5), finished(40, 2, 5), finished(40, 2, ms)}})))
        .at("timing")
        .at("notes");
  };
  EXPECT_EQ(notes_at(5.9).size(), 0u);
  ASSERT_EQ(notes_at(6.1).size(), 1u);
  EXPECT_NE(notes_at(6.1)[0].get<std::string>().find("The runs of b went at"), std::string::npos)
      << notes_at(6.1);
}

// ---- Metrics

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
  EXPECT_EQ(run.step_ms, (std::vector<double>{2, 2}));
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

}  // namespace
}  // namespace saslm
