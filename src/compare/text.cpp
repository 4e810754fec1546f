#include "compare/text.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "metrics/progress.h"

namespace saslm {
namespace {

using Status = RunRecord::Status;

constexpr const char* kNothing = "–";
constexpr const char* kOffCurve = "†";
constexpr std::array kEqual = {"tokens", "FLOPs", "time"};  // by Budget

std::string mean_sd(const Summary& summary, int decimals) {
  if (summary.n == 0) return kNothing;
  if (!summary.sd || !std::isfinite(*summary.sd)) return decimal(summary.mean, decimals);
  if (*summary.sd <= 1e-9 * std::max(1.0, std::abs(summary.mean)))  // rounding
    return decimal(summary.mean, decimals) + " (no spread)";
  decimals = decimals_for(*summary.sd, decimals);
  return decimal(summary.mean, decimals) + " ± " + decimal(*summary.sd, decimals);
}

std::string difference_text(const CompareResults& results, size_t v, Budget budget) {
  if (v == results.plan.baseline) return "baseline";
  const Reading& reading = results.variants[v].at[size_t(budget)];
  const PairedDifference& d = reading.difference;
  if (d.pairs == 0) return kNothing;
  const int decimals = decimals_for(d);
  std::string cell = d.suspicious && d.mean == 0 ? "0" : decimal(d.mean, decimals, true);
  if (d.half_width && !d.suspicious) cell += " ± " + decimal(*d.half_width, decimals);
  if (d.suspicious) cell += " (no spread)";
  return cell + (reading.at_end ? "" : kOffCurve);
}

std::string header(const CompareResults& results, Budget budget) {
  return std::string("Δ equal ") + kEqual[size_t(budget)] + (results.plan.budget == budget ? " *" : "");
}

std::string tokens_per_s(const VariantPlan& plan, double step_ms) {
  return human_count(double(plan.plan.tokens_per_step) / step_ms * 1e3);
}

// One figure where a variant has one speed, and its range where the machine had other things to do.
std::string speed_text(const VariantPlan& plan, const VariantResult& result) {
  if (!result.median_step_ms) return kNothing;
  const auto [fastest, slowest] = *result.speeds_ms;
  if (slowest <= kSteadySpeeds * fastest) return tokens_per_s(plan, *result.median_step_ms);
  return tokens_per_s(plan, slowest) + kNothing + tokens_per_s(plan, fastest);
}

bool any_bits(const CompareResults& results) {
  return std::any_of(results.variants.begin(), results.variants.end(),
                     [](const VariantResult& v) { return v.bits_per_byte.n > 0; });
}

bool any_off_curve(const CompareResults& results, std::initializer_list<Budget> budgets) {
  for (const VariantResult& variant : results.variants)
    for (const Budget budget : budgets)
      if (const Reading& r = variant.at[size_t(budget)]; r.difference.pairs > 0 && !r.at_end) return true;
  return false;
}

std::string off_curve_note() {
  return std::string(kOffCurve) +
         " read off the loss curves between evaluations, at the smallest amount that every run reached: a "
         "longer run's learning rate had not yet decayed there, which favours the variant that ends there; "
         "the interval does not include this. For a verdict run the comparison under that budget.";
}

void add(std::string& list, const std::string& sentence) {
  list += (list.empty() ? "" : " ") + sentence;
}

std::string seeds_note(size_t seeds) {
  if (seeds == 1) return "One seed gives no deviation and no interval. Use three seeds or more.";
  return std::string(
             "Losses: mean ± standard deviation over seeds. Differences: ± 95 % interval, Student's t over "
             "paired seeds; a seed sets the initial weights and the data order.") +
         (seeds == 2 ? " With two seeds it is 12.7 standard errors wide, with three 4.3." : "");
}

// "No figure for b at equal FLOPs: ..."; what has one cause is said once.
void note_missing_figures(const CompareResults& results, Budget budget, std::vector<std::string>& lines) {
  for (size_t v = 0; v < results.variants.size(); ++v) {
    const std::string& why = results.variants[v].at[size_t(budget)].why_not;
    if (why.empty() || v == results.plan.baseline) continue;
    lines.push_back("No figure (" + std::string(kNothing) + ") for " + results.plan.variants[v].name +
                    " at equal " + kEqual[size_t(budget)] + ": " + why + ".");
  }
}

void note_copies(const CompareResults& results, size_t v, std::vector<std::string>& lines) {
  const auto& runs = results.variants[v].runs;
  for (size_t s = 0; s < runs.size(); ++s)
    for (size_t other = 0; other < s; ++other)
      if (runs[s].finished() && runs[other].finished() && runs[s].final_loss() == runs[other].final_loss()) {
        const VariantPlan& plan = results.plan.variants[v];
        lines.push_back(run_name(plan, results.plan.seeds[other]) + " and " +
                        run_name(plan, results.plan.seeds[s]) +
                        " ended with identical losses, which different seeds do not: one may be a copy of "
                        "the other, so do not rely on any interval.");
        return;
      }
}

}  // namespace

std::vector<TextRow> variant_rows(const CompareResults& results) {
  const bool bits = any_bits(results);
  TextRow head = {"variant", "parameters", "attention", "FLOPs/token", "tokens/s",
                  "memory",  "runs",       "val loss",  "val ppl"};
  if (bits) head.push_back("bits/byte");
  for (const Budget budget : kBudgets) head.push_back(header(results, budget));
  std::vector<TextRow> rows = {head};
  for (size_t v = 0; v < results.variants.size(); ++v) {
    const VariantPlan& plan = results.plan.variants[v];
    const VariantResult& result = results.variants[v];
    const int64_t diverged = result.count(Status::diverged);
    TextRow row = {plan.name,
                   human_count(double(plan.plan.parameters)),
                   human_count(double(plan.attention_parameters)),
                   human_count(plan.plan.flops_per_token),
                   speed_text(plan, result),
                   human_bytes(plan.plan.arena_bytes),
                   std::to_string(result.count(Status::finished)) + "/" +
                       std::to_string(results.plan.seeds.size()) +
                       (diverged > 0 ? ", " + std::to_string(diverged) + " diverged" : ""),
                   mean_sd(result.loss, 4),
                   mean_sd(result.ppl, 3)};
    if (bits) row.push_back(mean_sd(result.bits_per_byte, 4));
    for (const Budget budget : kBudgets) row.push_back(difference_text(results, v, budget));
    rows.push_back(std::move(row));
  }
  return rows;
}

std::vector<TextRow> run_rows(const CompareResults& results) {
  std::vector<TextRow> rows = {{"run", "status", "steps", "val loss", "val ppl", "note"}};
  for (size_t s = 0; s < results.plan.seeds.size(); ++s)
    for (size_t v = 0; v < results.variants.size(); ++v) {
      const RunRecord& run = results.variants[v].runs[s];
      const bool done = run.finished();
      rows.push_back(
          {run_name(results.plan.variants[v], results.plan.seeds[s]), name_of(run.status),
           std::to_string(run.steps_done) + "/" + std::to_string(results.plan.variants[v].config.train.steps),
           done ? decimal(run.final_loss(), 5) : kNothing,
           done ? decimal(std::exp(run.final_loss()), 4) : kNothing, run_note(results, v, s, false)});
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

std::vector<std::string> notes(const CompareResults& results) {
  std::vector<std::string> lines = {"Differences are validation loss against " + results.plan.base().name +
                                        " in nats, lower is better; * marks the budget the runs were given.",
                                    seeds_note(results.plan.seeds.size())};
  if (results.variants.size() > 2)
    lines.push_back("Each interval is for its own pair; one in twenty misses by chance.");
  if (any_off_curve(results, {Budget::tokens, Budget::flops})) lines.push_back(off_curve_note());
  for (const Budget budget : {Budget::tokens, Budget::flops}) note_missing_figures(results, budget, lines);
  for (size_t v = 0; v < results.variants.size(); ++v) note_copies(results, v, lines);
  for (size_t s = 0; s < results.plan.seeds.size(); ++s)
    for (size_t v = 0; v < results.variants.size(); ++v)
      if (const std::string note = run_note(results, v, s, false); !note.empty())
        lines.push_back(run_name(results.plan.variants[v], results.plan.seeds[s]) + ": " + note);
  lines.push_back(
      "Time counts only training steps, at each run's median step; tokens/s likewise. Memory is the run's "
      "one allocation.");
  for (size_t v = 0; v < results.variants.size(); ++v)
    if (const std::string note = parameters_note(results.plan, v); !note.empty()) lines.push_back(note + ".");
  const int64_t batch = results.plan.base().plan.tokens_per_step;
  for (const VariantPlan& variant : results.plan.variants)
    if (variant.plan.tokens_per_step != batch)
      lines.push_back(variant.name + " takes " + std::to_string(variant.plan.tokens_per_step) +
                      " tokens per step, " + results.plan.base().name + " " + std::to_string(batch) +
                      ": their difference is partly one of batch size.");
  return lines;
}

std::vector<std::string> timing_notes(const CompareResults& results) {
  std::vector<std::string> lines;
  if (!any_off_curve(results, {Budget::tokens, Budget::flops}) && any_off_curve(results, {Budget::seconds}))
    lines.push_back(off_curve_note());
  note_missing_figures(results, Budget::seconds, lines);
  return lines;
}

std::string run_note(const CompareResults& results, size_t v, size_t s, bool clock) {
  const VariantResult& variant = results.variants[v];
  const RunRecord& run = variant.runs[s];
  std::string note;
  if (clock) {
    if (run.finished() && !variant.unsteady.empty()) add(note, "no loss at equal time: " + variant.unsteady);
    return note;
  }
  if (run.unreadable > 0)
    add(note, std::to_string(run.unreadable) + " unreadable line" + (run.unreadable > 1 ? "s" : "") +
                  " of metrics.jsonl left out.");
  if (run.untimed > 0)
    add(note, "step_ms of " + std::to_string(run.untimed) + " step" + (run.untimed > 1 ? "s" : "") +
                  " is not a valid time and is ignored.");
  if (run.last_eval_lost) add(note, "The evaluation of its last step is missing; saslm compare repeats it.");
  const int64_t vocab_size = results.plan.variants[v].config.model.vocab_size;
  const double guess = std::log(double(vocab_size));
  if (vocab_size > 0 && run.finished() && run.final_loss() > guess)
    add(note, "Its loss of " + decimal(run.final_loss(), 4) + " is worse than guessing (" +
                  decimal(guess, 4) + "); it is included in the means.");
  return note;
}

std::string one_line(const std::string& text) {
  using nlohmann::json;
  const std::string utf8 =
      json::parse(json(text).dump(-1, ' ', false, json::error_handler_t::replace)).get<std::string>();
  std::string line;
  for (size_t i = 0; i < utf8.size(); ++i) {
    const auto c = static_cast<unsigned char>(utf8[i]);
    const auto next = i + 1 < utf8.size() ? static_cast<unsigned char>(utf8[i + 1]) : 0;
    const bool c1 = c == 0xC2 && next >= 0x80 && next < 0xA0;  // what a terminal takes for ESC and a letter
    if (c >= 0x20 && c != 0x7F && !c1) {
      line += utf8[i];
      continue;
    }
    char shown[8];
    std::snprintf(shown, sizeof shown, "\\x%02x", c1 ? next : c);
    line += shown;
    i += c1 ? 1 : 0;
  }
  return line;
}

std::string in_markdown(const std::string& text) {
  std::string safe;
  for (const char c : one_line(text)) {
    if (c == '<')
      safe += "&lt;";
    else if (c == '>')
      safe += "&gt;";
    else if (c == '&')
      safe += "&amp;";
    else if (std::string_view("\\`*[]|~").find(c) != std::string_view::npos)
      (safe += '\\') += c;
    else
      safe += c;
  }
  return safe;
}

}  // namespace saslm
