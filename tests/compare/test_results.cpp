// Results from metrics made up for the purpose, so that every number can be worked by hand.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "compare/report.h"

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
  run.speed = RunSpeed{.median_ms = step_ms, .fastest_ms = step_ms, .slowest_ms = step_ms};
  run.seconds = double(steps) * step_ms / 1e3;
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
  // a ends after 0.4 s; there b has done 13 1/3 steps, between evaluations that say 4.5 and 4 on the mean.
  const Reading& time = r.variants[1].at[size_t(Budget::seconds)];
  EXPECT_NEAR(r.common[size_t(Budget::seconds)].value(), 0.4, 1e-12);
  double read = 0;
  for (const RunRecord& run : r.variants[1].runs) read += read_curve(run.evals, 40.0 / 3).value() / 3;
  EXPECT_NEAR(time.loss.mean, read, 1e-12);
  EXPECT_LT(time.loss.mean, 4.45);
  EXPECT_GT(time.loss.mean, 4.05);
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
  EXPECT_NE(r.variants[1].sentence.find("Runs still to do: 2."), std::string::npos);
}

TEST(CompareResults, NothingDoneIsNoError) {
  const CompareResults r = compile_results(two_variants(Budget::tokens, 40), {{{}, {}, {}}, {{}, {}, {}}});
  EXPECT_FALSE(r.complete());
  EXPECT_NE(r.variants[1].sentence.find("There is no result"), std::string::npos);
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
  for (json* j : {&fast, &slow}) {
    j->erase("timing");
    for (const char* list : {"variants", "runs"})
      for (json& entry : (*j)[list]) entry.erase("timing");
  }
  EXPECT_EQ(fast, slow);
}

// ---- Equal time

RunRecord at_speeds(RunRecord run, double median_ms, double fastest_ms, double slowest_ms) {
  run.speed = RunSpeed{median_ms, fastest_ms, slowest_ms};
  return run;
}

// Whether all four reports leave the figure out and say why; `phrase` is part of the reason.
void expect_no_figure(const CompareResults& r, Budget budget, const std::string& phrase) {
  const json j = json::parse(results_json(r));
  const json& b = j["variants"][1];
  const json& reading = budget == Budget::seconds ? b["timing"]["at_equal_seconds"]
                                                  : b[std::string("at_equal_") + name_of(budget)];
  EXPECT_TRUE(reading["difference"]["mean"].is_null()) << reading;
  EXPECT_TRUE(reading["difference"]["half_width_95"].is_null()) << reading;
  EXPECT_FALSE(reading["difference"]["shown"].get<bool>());
  EXPECT_NE(reading["why_not"].get<std::string>().find(phrase), std::string::npos) << reading;
  EXPECT_EQ(r.variants[1].at[size_t(budget)].difference.pairs, 0);
  const auto notes = budget == Budget::seconds ? j["timing"]["notes"] : j["notes"];
  EXPECT_NE(notes.dump().find(phrase), std::string::npos) << notes;
  for (const std::string& report : {results_csv(r), results_markdown(r), results_text(r)})
    EXPECT_NE(report.find(phrase), std::string::npos) << report;
}

CompareResults with_last_run_of_b(const RunRecord& run, Budget budget = Budget::tokens) {
  return compile_results(two_variants(budget, budget == Budget::flops ? 20 : 40),
                         {{finished(40, 3.0, 10), finished(40, 3.1, 10), finished(40, 3.2, 10)},
                          {finished(40, 2.9, 5), finished(40, 2.99, 5), run}});
}

TEST(EqualTime, RunsOfOneVariantAtUnlikeSpeedsGiveNoFigure) {
  const RunRecord steady = finished(40, 3.11, 5.4), slower = finished(40, 3.11, 5.6);
  const Reading& fine = with_last_run_of_b(steady).variants[1].at[size_t(Budget::seconds)];
  EXPECT_EQ(fine.difference.pairs, 3);
  EXPECT_EQ(fine.why_not, "");
  expect_no_figure(with_last_run_of_b(slower), Budget::seconds, "the runs of b went at");
  EXPECT_NE(results_text(with_last_run_of_b(slower)).find("17.9K–20.0K"), std::string::npos)
      << results_text(with_last_run_of_b(slower));
}

TEST(EqualTime, ARunThatWasSlowForAWhileGivesNoFigure) {
  const RunRecord run = finished(40, 3.11, 5);
  EXPECT_EQ(with_last_run_of_b(at_speeds(run, 5, 4.9, 5.3)).variants[1].unsteady, "");
  expect_no_figure(with_last_run_of_b(at_speeds(run, 5, 5, 17)), Budget::seconds,
                   "parts of a run of b went at");
}

TEST(EqualTime, ABaselineWithoutASpeedGivesNoFigureForAnybody) {
  const CompareResults r =
      compile_results(two_variants(Budget::tokens, 40), {{finished(40, 3.0, 10), finished(40, 3.1, 34), {}},
                                                         {finished(40, 2.9, 5), finished(40, 2.99, 5), {}}});
  expect_no_figure(r, Budget::seconds, "the runs of a went at");
}

TEST(EqualTime, OneRunOfEachTellsNoModelFromItsHour) {
  const CompareResults r = compile_results(
      two_variants(Budget::tokens, 40), {{finished(40, 3.0, 10), {}, {}}, {finished(40, 2.9, 34), {}, {}}});
  expect_no_figure(r, Budget::seconds, "there is only one run of b");
}

// A budget of seconds was spent by speeds that were measured before: both may be wrong.
CompareResults budgeted(std::vector<double> rounds_of_b, double ms_of_b) {
  ComparePlan plan = two_variants(Budget::seconds, 40);
  plan.budget_value = 0.4;
  plan.variants[0].tokens_per_s = 1e4, plan.variants[0].speed_rounds = {1e4, 1e4, 1e4};
  plan.variants[1].tokens_per_s = median(rounds_of_b), plan.variants[1].speed_rounds = rounds_of_b;
  plan.seeds = {1};
  return compile_results(plan, {{finished(40, 3.0, 10)}, {finished(40, 2.9, ms_of_b)}});
}

TEST(EqualTime, ABudgetOfSecondsIsMetByRunsAtTheSpeedThatWasMeasured) {
  EXPECT_NE(budgeted({1e4, 1.02e4, 1.03e4}, 10).variants[1].sentence.find("ended 0.1000 nats below a"),
            std::string::npos);
  for (const CompareResults& r : {budgeted({1e4, 1.02e4, 1.03e4}, 18), budgeted({1e4, 1.02e4, 3e4}, 10)}) {
    expect_no_figure(r, Budget::seconds, "and the speed they were budgeted by");
    EXPECT_NE(r.variants[1].sentence.find("There is no result for b against a at equal training time"),
              std::string::npos)
        << r.variants[1].sentence;
  }
}

// ---- Readings off a curve

TEST(EqualFlops, NothingIsReadBeforeTheFirstEvaluationOfATrainedModel) {
  ComparePlan plan = two_variants(Budget::tokens, 40);
  plan.variants[1].plan.flops_per_token = 100;  // at a's 40 000 FLOPs b has done 4 of 40 steps
  plan.variants[1].config.eval.every_steps = 10;
  const CompareResults r =
      compile_results(plan, {{finished(40, 3.0, 10), finished(40, 3.1, 10), finished(40, 3.2, 10)},
                             {finished(40, 2.9, 30), finished(40, 2.99, 30), finished(40, 3.11, 30)}});
  expect_no_figure(r, Budget::flops,
                   "b would have to be read at step 4, before its first evaluation with training (step 10)");
  EXPECT_EQ(r.variants[1].at[size_t(Budget::tokens)].difference.pairs, 3);
}

TEST(EqualFlops, WhatIsReadOffACurveIsNeverShownAsADifference) {
  const CompareResults r = three_seeds(two_variants(Budget::tokens, 40));
  const Reading& flops = r.variants[1].at[size_t(Budget::flops)];
  EXPECT_TRUE(flops.difference.shown());  // by its seeds alone
  EXPECT_FALSE(flops.shown());
  EXPECT_TRUE(r.variants[1].at[size_t(Budget::tokens)].shown());
  EXPECT_FALSE(
      json::parse(results_json(r))["variants"][1]["at_equal_flops"]["difference"]["shown"].get<bool>());
}

TEST(EqualFlops, TheCurveOfDifferencesIsReadInTheSameWay) {
  const CompareResults r = three_seeds(two_variants(Budget::tokens, 40));
  const LossCurve curve = difference_curve(r, Budget::flops, 1, 0);
  // b's evaluations at 10 and 20 of 40 steps lie at a's 20 and 40; what lies beyond a's end is left out.
  ASSERT_EQ(curve.size(), 2u);
  EXPECT_NEAR(curve[0].first, 20000, 1e-9);
  EXPECT_NEAR(curve[0].second, (5 - 2.1 / 4) - 4.0, 1e-12);
  EXPECT_NEAR(curve[1].second, (5 - 2.1 / 2) - 3.0, 1e-12);
}

// ---- Runs that are not what they should be

TEST(CompareResults, SeedsThatEndAlikeAreNamedAndShowNothing) {
  const CompareResults r =
      compile_results(two_variants(Budget::tokens, 40),
                      {{finished(40, 3.0, 10), finished(40, 3.1, 10), finished(40, 3.2, 10)},
                       {finished(40, 2.5, 30), finished(40, 2.5, 30), finished(40, 2.7, 30)}});
  EXPECT_FALSE(r.variants[1].at[0].shown());
  EXPECT_NE(results_text(r).find("b_seed1 and b_seed2 ended with identical losses"), std::string::npos);
  EXPECT_EQ(r.variants[1].sentence.find("better"), std::string::npos) << r.variants[1].sentence;
}

TEST(CompareResults, APerplexityThatNoNumberHoldsIsInfAndNamesItsRun) {
  ComparePlan plan = two_variants(Budget::tokens, 40);
  for (VariantPlan& variant : plan.variants) variant.config.model.vocab_size = 256;
  const CompareResults r =
      compile_results(plan, {{finished(40, 3.0, 10), finished(40, 3.1, 10), finished(40, 3.2, 10)},
                             {finished(40, 2.9, 30), finished(40, 800, 30), finished(40, 3.11, 30)}});
  const json j = json::parse(results_json(r));
  EXPECT_EQ(j["runs"][3]["val_loss"], 800);
  EXPECT_TRUE(j["runs"][3]["val_ppl"].is_null());
  EXPECT_TRUE(j["variants"][1]["val_ppl"]["mean"].is_null());
  EXPECT_NE(results_csv(r).find(",800.0,inf,"), std::string::npos) << results_csv(r);
  for (const std::string& report : {results_markdown(r), results_text(r)}) {
    EXPECT_NE(report.find("b_seed2: Its loss of 800.0000 is worse than guessing (5.5452)"), std::string::npos)
        << report;
    EXPECT_EQ(report.find("nan"), std::string::npos);
    EXPECT_NE(report.find("inf"), std::string::npos);
  }
}

TEST(CompareResults, BitsPerByteAreShownWhereAllRunsHaveThem) {
  ComparePlan plan = two_variants(Budget::tokens, 40);
  plan.seeds = {1};
  RunRecord with = finished(40, 2.9, 30);
  with.bits_per_byte = 1.25;
  const CompareResults r = compile_results(plan, {{finished(40, 3.0, 10)}, {with}});
  EXPECT_NE(results_text(r).find("bits/byte"), std::string::npos);
  EXPECT_EQ(json::parse(results_json(r))["variants"][1]["val_bpb"]["mean"], 1.25);
  EXPECT_TRUE(json::parse(results_json(r))["variants"][0]["val_bpb"]["mean"].is_null());
  EXPECT_EQ(results_text(three_seeds(plan.seeds.size() == 1 ? two_variants(Budget::tokens, 40) : plan))
                .find("bits/"),
            std::string::npos);
}

TEST(CompareResults, WhatComesFromOutsideIsTextInEveryFormat) {
  ComparePlan plan = two_variants(Budget::tokens, 40);
  plan.data = "trained on <script>alert(1)</script> | `x` [l](u)\n# Title \x1b[31m\xff";
  const CompareResults r = three_seeds(plan);
  const std::string md = results_markdown(r), text = results_text(r), js = results_json(r);
  EXPECT_NE(md.find("&lt;script&gt;alert(1)&lt;/script&gt; \\| \\`x\\` \\[l\\](u)\\\\x0a# Title"),
            std::string::npos)
      << md;
  for (const std::string* report : {&md, &text, &js}) EXPECT_EQ(report->find('\x1b'), std::string::npos);
  EXPECT_EQ(md.find("\n# Title"), std::string::npos);
  EXPECT_EQ(md.find('\xff'), std::string::npos);
  EXPECT_TRUE(json::accept(js));
}

}  // namespace
}  // namespace saslm
