#include "train/compare_report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "metrics/progress.h"

namespace saslm {
namespace {

using nlohmann::ordered_json;
using Status = RunRecord::Status;
using Row = std::vector<std::string>;

// ---- JSON

template <class X>
ordered_json or_null(const std::optional<X>& value) {
  return value ? ordered_json(*value) : ordered_json();
}

ordered_json summary_json(const Summary& summary) {
  if (summary.n == 0) return {{"n", 0}, {"mean", nullptr}, {"sd", nullptr}};
  return {{"n", summary.n}, {"mean", summary.mean}, {"sd", or_null(summary.sd)}};
}

ordered_json reading_json(const CompareResults& results, size_t v, Budget budget) {
  const Reading& reading = results.variants[v].at[size_t(budget)];
  const PairedDifference& d = reading.difference;
  ordered_json j = {{"at", or_null(results.common[size_t(budget)])},
                    {"how", reading.at_end ? "final losses" : "read off the loss curves"},
                    {"val_loss", summary_json(reading.loss)}};
  if (v == results.plan.baseline) return j;
  j["difference"] = {{"pairs", d.pairs},
                     {"mean", d.pairs > 0 ? ordered_json(d.mean) : ordered_json()},
                     {"half_width_95", or_null(d.half_width)},
                     {"shown", d.shown()}};
  return j;
}

ordered_json variant_json(const CompareResults& results, size_t v) {
  const VariantPlan& plan = results.plan.variants[v];
  const VariantResult& result = results.variants[v];
  ordered_json timing = {{"tokens_per_s", nullptr}, {"seconds", nullptr}};
  if (result.median_step_ms) {
    timing["tokens_per_s"] = double(plan.plan.tokens_per_step) / *result.median_step_ms * 1e3;
    timing["seconds"] = *result.median_step_ms * double(plan.config.train.steps) / 1e3;
  }
  timing["at_equal_seconds"] = reading_json(results, v, Budget::seconds);
  return {{"name", plan.name},
          {"kind", name_of(plan.config.model.attention.kind)},
          {"baseline", v == results.plan.baseline},
          {"parameters", plan.plan.parameters},
          {"parameters_attention", plan.attention_parameters},
          {"flops_per_token", plan.plan.flops_per_token},
          {"arena_bytes", plan.plan.arena_bytes},
          {"tokens_per_step", plan.plan.tokens_per_step},
          {"steps", plan.config.train.steps},
          {"tokens", plan.tokens()},
          {"flops", plan.flops()},
          {"finished", result.count(Status::finished)},
          {"diverged", result.count(Status::diverged)},
          {"val_loss", summary_json(result.loss)},
          {"val_ppl", summary_json(result.ppl)},
          {"at_equal_tokens", reading_json(results, v, Budget::tokens)},
          {"at_equal_flops", reading_json(results, v, Budget::flops)},
          {"sentence", result.sentence},
          {"timing", timing}};
}

ordered_json run_json(const CompareResults& results, size_t v, size_t s) {
  const VariantPlan& plan = results.plan.variants[v];
  const RunRecord& run = results.variants[v].runs[s];
  ordered_json j = {{"variant", plan.name},
                    {"seed", results.plan.seeds[s]},
                    {"status", name_of(run.status)},
                    {"steps_done", run.steps_done},
                    {"val_loss", nullptr},
                    {"val_ppl", nullptr},
                    {"folder", "runs/" + run_name(plan, results.plan.seeds[s])},
                    {"timing", {{"tokens_per_s", nullptr}, {"seconds", nullptr}}}};
  if (run.finished()) {
    j["val_loss"] = run.final_loss();
    j["val_ppl"] = std::exp(run.final_loss());
  }
  if (!run.step_ms.empty()) {
    double total_ms = 0;
    for (const double ms : run.step_ms) total_ms += ms;
    j["timing"] = {{"tokens_per_s", double(plan.plan.tokens_per_step) / median(run.step_ms) * 1e3},
                   {"seconds", total_ms / 1e3}};
  }
  return j;
}

// ---- Text

std::string text(const char* format, double value) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, format, value);
  return buffer;
}

std::string mean_sd(const Summary& summary, const char* format) {
  if (summary.n == 0) return "-";
  return text(format, summary.mean) + (summary.sd ? " ± " + text(format, *summary.sd) : "");
}

constexpr const char* kOffCurve = "†";

std::string difference_text(const CompareResults& results, size_t v, Budget budget) {
  if (v == results.plan.baseline) return "baseline";
  const Reading& reading = results.variants[v].at[size_t(budget)];
  if (reading.difference.pairs == 0) return "-";
  std::string cell = text("%+.4f", reading.difference.mean);
  if (reading.difference.half_width) cell += " ± " + text("%.4f", *reading.difference.half_width);
  return cell + (reading.at_end ? "" : kOffCurve);
}

std::string header(const CompareResults& results, Budget budget, const char* words) {
  return std::string("Δ equal ") + words + (results.plan.budget == budget ? " *" : "");
}

std::vector<Row> table(const CompareResults& results) {
  std::vector<Row> rows = {{"variant", "parameters", "attention", "FLOPs/token", "tokens/s", "memory", "runs",
                            "val loss", "val ppl", header(results, Budget::tokens, "tokens"),
                            header(results, Budget::flops, "FLOPs"),
                            header(results, Budget::seconds, "time")}};
  for (size_t v = 0; v < results.variants.size(); ++v) {
    const VariantPlan& plan = results.plan.variants[v];
    const VariantResult& result = results.variants[v];
    const std::string speed =
        result.median_step_ms ? human_count(double(plan.plan.tokens_per_step) / *result.median_step_ms * 1e3)
                              : "-";
    const int64_t diverged = result.count(Status::diverged);
    rows.push_back(
        {plan.name, human_count(double(plan.plan.parameters)), human_count(double(plan.attention_parameters)),
         human_count(plan.plan.flops_per_token), speed, human_bytes(plan.plan.arena_bytes),
         std::to_string(result.count(Status::finished)) + "/" + std::to_string(results.plan.seeds.size()) +
             (diverged > 0 ? ", " + std::to_string(diverged) + " diverged" : ""),
         mean_sd(result.loss, "%.4f"), mean_sd(result.ppl, "%.3f"),
         difference_text(results, v, Budget::tokens), difference_text(results, v, Budget::flops),
         difference_text(results, v, Budget::seconds)});
  }
  return rows;
}

std::string budget_line(const CompareResults& results) {
  const ComparePlan& plan = results.plan;
  const std::string value = plan.budget == Budget::seconds
                                ? human_duration(plan.budget_value) + " of training"
                            : plan.budget == Budget::flops ? human_count(plan.budget_value) + " FLOPs"
                                                           : human_count(plan.budget_value) + " tokens";
  std::string seeds;
  for (const uint64_t seed : plan.seeds) seeds += (seeds.empty() ? "" : ", ") + std::to_string(seed);
  return std::to_string(plan.variants.size()) + " variants under one budget: " + value + " per run; seeds " +
         seeds + "; " + plan.data + ".";
}

// Notes that depend on the clock.
std::vector<std::string> timing_notes(const CompareResults& results) {
  constexpr double kSteady = 1.2;  // the fastest of a variant's runs over the slowest
  std::vector<std::string> lines;
  for (size_t v = 0; v < results.variants.size(); ++v) {
    const VariantPlan& plan = results.plan.variants[v];
    std::vector<double> speeds;  // tokens/s
    for (const RunRecord& run : results.variants[v].runs)
      if (!run.step_ms.empty())
        speeds.push_back(double(plan.plan.tokens_per_step) / median(run.step_ms) * 1e3);
    if (speeds.empty()) continue;
    const auto [slowest, fastest] = std::minmax_element(speeds.begin(), speeds.end());
    if (*fastest > kSteady * *slowest)
      lines.push_back(
          "The runs of " + plan.name + " went at " + human_count(*slowest) + " to " + human_count(*fastest) +
          " tokens/s: the machine had other things to do, and what is said at equal time is not to "
          "be relied on.");
  }
  return lines;
}

std::vector<std::string> notes(const CompareResults& results) {
  std::vector<std::string> lines = {"Differences are validation loss against " + results.plan.base().name +
                                    " in nats, less is better; * marks the budget the runs were given."};
  if (results.plan.seeds.size() > 1)
    lines.push_back(
        "Losses: mean ± standard deviation over seeds. Differences: ± 95 % interval, Student's t over "
        "paired seeds; a seed decides initial values and data order.");
  else
    lines.push_back(
        "One seed: no deviation and no interval can be given. Three or more seeds are worth their "
        "time.");
  if (results.variants.size() > 2)
    lines.push_back("Each interval stands for its own pair; of many such, one in twenty misses by chance.");
  bool off_curve = false;
  for (const VariantResult& variant : results.variants)
    for (const Reading& reading : variant.at) off_curve |= reading.difference.pairs > 0 && !reading.at_end;
  if (off_curve)
    lines.push_back(
        std::string(kOffCurve) +
        " read off the loss curves between evaluations, at the least amount that every variant has: "
        "there a longer run's learning rate had not yet decayed, which flatters the variant that ends "
        "there. For a verdict run the comparison under that budget.");
  lines.push_back(
      "Time is that of training steps alone, at the variant's median step; tokens/s likewise. Memory is "
      "the run's one allocation.");
  const int64_t batch = results.plan.base().plan.tokens_per_step;
  for (const VariantPlan& variant : results.plan.variants)
    if (variant.plan.tokens_per_step != batch)
      lines.push_back(variant.name + " takes " + std::to_string(variant.plan.tokens_per_step) +
                      " tokens a step, " + results.plan.base().name + " " + std::to_string(batch) +
                      ": their difference is one of batches, too.");
  return lines;
}

std::string joined(const Row& cells, const std::string& between) {
  std::string line;
  for (const std::string& cell : cells) line += (line.empty() ? "" : between) + cell;
  return line;
}

std::string markdown_row(const Row& cells) {
  return "| " + joined(cells, " | ") + " |\n";
}

std::string markdown_table(const std::vector<Row>& rows) {
  std::string out = markdown_row(rows.front()) + "|---";
  for (size_t i = 1; i < rows.front().size(); ++i) out += "|--:";
  out += "|\n";
  for (size_t r = 1; r < rows.size(); ++r) out += markdown_row(rows[r]);
  return out;
}

// Characters a terminal shows: UTF-8's continuation bytes are not counted.
size_t width(const std::string& cell) {
  size_t count = 0;
  for (const char c : cell) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return count;
}

std::string aligned(const std::vector<Row>& rows) {
  std::vector<size_t> widths(rows.front().size());
  for (const Row& row : rows)
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
  std::string out;
  for (size_t r = 0; r < rows.size(); ++r) {
    std::string line, rule;
    for (size_t i = 0; i < widths.size(); ++i) {
      const std::string pad(widths[i] - width(rows[r][i]), ' ');
      line += (i == 0 ? rows[r][i] + pad : "  " + pad + rows[r][i]);
      rule += (i == 0 ? "" : "  ") + std::string(widths[i], '-');
    }
    out += line + "\n" + (r == 0 ? rule + "\n" : "");
  }
  return out;
}

std::vector<Row> run_rows(const CompareResults& results) {
  std::vector<Row> rows = {{"run", "status", "steps", "val loss", "val ppl"}};
  for (size_t s = 0; s < results.plan.seeds.size(); ++s)
    for (size_t v = 0; v < results.variants.size(); ++v) {
      const RunRecord& run = results.variants[v].runs[s];
      const bool done = run.finished();
      rows.push_back(
          {run_name(results.plan.variants[v], results.plan.seeds[s]), name_of(run.status),
           std::to_string(run.steps_done) + "/" + std::to_string(results.plan.variants[v].config.train.steps),
           done ? text("%.5f", run.final_loss()) : "-",
           done ? text("%.4f", std::exp(run.final_loss())) : "-"});
    }
  return rows;
}

}  // namespace

std::string results_json(const CompareResults& results) {
  const ComparePlan& plan = results.plan;
  ordered_json j = {{"budget", name_of(plan.budget)},
                    {"budget_value", plan.budget_value},
                    {"baseline", plan.base().name},
                    {"seeds", plan.seeds},
                    {"complete", results.complete()},
                    {"data", plan.data},
                    {"data_fingerprints", {{"train", plan.train_fingerprint}, {"val", plan.val_fingerprint}}},
                    {"variants", ordered_json::array()},
                    {"runs", ordered_json::array()},
                    {"notes", notes(results)},
                    {"timing", {{"notes", timing_notes(results)}}}};
  for (size_t v = 0; v < results.variants.size(); ++v) j["variants"].push_back(variant_json(results, v));
  for (size_t s = 0; s < plan.seeds.size(); ++s)
    for (size_t v = 0; v < results.variants.size(); ++v) j["runs"].push_back(run_json(results, v, s));
  return j.dump(2) + "\n";
}

std::string results_csv(const CompareResults& results) {
  std::string csv =
      "variant,kind,seed,status,parameters,parameters_attention,flops_per_token,arena_bytes,steps,tokens,"
      "flops,"
      "val_loss,val_ppl,tokens_per_s,seconds\n";
  const auto cell = [](const ordered_json& value) { return value.is_null() ? "" : value.dump(); };
  for (size_t s = 0; s < results.plan.seeds.size(); ++s)
    for (size_t v = 0; v < results.variants.size(); ++v) {
      const VariantPlan& plan = results.plan.variants[v];
      const ordered_json run = run_json(results, v, s);
      csv += joined({plan.name, name_of(plan.config.model.attention.kind), cell(run["seed"]),
                     run["status"].get<std::string>(), std::to_string(plan.plan.parameters),
                     std::to_string(plan.attention_parameters), cell(plan.plan.flops_per_token),
                     std::to_string(plan.plan.arena_bytes), cell(run["steps_done"]),
                     std::to_string(results.variants[v].runs[s].steps_done * plan.plan.tokens_per_step),
                     cell(double(results.variants[v].runs[s].steps_done * plan.plan.tokens_per_step) *
                          plan.plan.flops_per_token),
                     cell(run["val_loss"]), cell(run["val_ppl"]), cell(run["timing"]["tokens_per_s"]),
                     cell(run["timing"]["seconds"])},
                    ",") +
             "\n";
    }
  return csv;
}

std::string results_markdown(const CompareResults& results) {
  std::string md = "# Comparison\n\n" + budget_line(results) + "\n\n" + markdown_table(table(results)) + "\n";
  for (const VariantResult& variant : results.variants) md += "* " + variant.sentence + "\n";
  md += "\n";
  for (const std::string& line : notes(results)) md += line + "\n\n";
  for (const std::string& line : timing_notes(results)) md += line + "\n\n";
  return md + "## Runs\n\n" + markdown_table(run_rows(results));
}

std::string results_text(const CompareResults& results) {
  std::string out = aligned(table(results)) + "\n";
  for (const VariantResult& variant : results.variants) out += variant.sentence + "\n";
  out += "\n";
  for (const std::string& line : notes(results)) out += line + "\n";
  for (const std::string& line : timing_notes(results)) out += line + "\n";
  return out;
}

void write_results(const CompareResults& results, const std::string& dir) {
  atomic_write_file(dir + "/results.json", results_json(results));
  atomic_write_file(dir + "/results.csv", results_csv(results));
  atomic_write_file(dir + "/results.md", results_markdown(results));
}

}  // namespace saslm
