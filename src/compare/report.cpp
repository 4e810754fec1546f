#include "compare/report.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "compare/text.h"
#include "core/file.h"

namespace saslm {
namespace {

using nlohmann::ordered_json;
using Status = RunRecord::Status;

// ---- JSON

template <class X>
ordered_json or_null(const std::optional<X>& value) {
  return value ? ordered_json(*value) : ordered_json();
}

// JSON has no infinity; overflowed numbers become null.
ordered_json finite(double value) {
  return std::isfinite(value) ? ordered_json(value) : ordered_json();
}

ordered_json summary_json(const Summary& summary) {
  if (summary.n == 0) return {{"n", 0}, {"mean", nullptr}, {"sd", nullptr}};
  return {{"n", summary.n},
          {"mean", finite(summary.mean)},
          {"sd", summary.sd ? finite(*summary.sd) : ordered_json()}};
}

ordered_json text_or_null(const std::string& text) {
  return text.empty() ? ordered_json() : ordered_json(text);
}

ordered_json reading_json(const CompareResults& results, size_t v, Budget budget) {
  const Reading& reading = results.variants[v].at[size_t(budget)];
  const PairedDifference& d = reading.difference;
  ordered_json j = {{"at", or_null(results.common[size_t(budget)])},
                    {"how", reading.at_end ? "final losses" : "read off the loss curves"},
                    {"why_not", text_or_null(reading.why_not)},
                    {"val_loss", summary_json(reading.loss)}};
  if (v == results.plan.baseline) return j;
  j["difference"] = {
      {"pairs", d.pairs},
      {"mean", d.pairs > 0 ? finite(d.mean) : ordered_json()},
      {"half_width_95", d.half_width && !d.suspicious ? finite(*d.half_width) : ordered_json()},
      {"suspicious", d.suspicious},
      {"shown", reading.shown()},
      {"decimals", decimals_for(d)}};
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
  if (result.speeds_ms) {
    const auto [fastest, slowest] = *result.speeds_ms;
    const double tokens = double(plan.plan.tokens_per_step) * 1e3;
    timing["tokens_per_s_from_to"] = {tokens / slowest, tokens / fastest};
  }
  timing["unsteady"] = text_or_null(result.unsteady);
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
          {"val_bpb", summary_json(result.bits_per_byte)},
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
                    {"val_bpb", nullptr},
                    {"note", text_or_null(run_note(results, v, s, false))},
                    {"folder", "runs/" + run_name(plan, results.plan.seeds[s])},
                    {"timing", {{"tokens_per_s", nullptr}, {"seconds", nullptr}}}};
  if (run.finished()) {
    j["val_loss"] = run.final_loss();
    j["val_ppl"] = finite(std::exp(run.final_loss()));
    j["val_bpb"] = or_null(run.bits_per_byte);
  }
  if (run.speed)
    j["timing"] = {{"tokens_per_s", double(plan.plan.tokens_per_step) / run.speed->median_ms * 1e3},
                   {"seconds", run.seconds}};
  return j;
}

ordered_json curve_json(const LossCurve& curve) {
  ordered_json points = ordered_json::array();
  for (const auto& [x, y] : curve)
    if (std::isfinite(y)) points.push_back({x, y});
  return points;
}

ordered_json run_curves_json(const CompareResults& results, size_t v, size_t s) {
  const RunRecord& run = results.variants[v].runs[s];
  ordered_json j = {{"evals", curve_json(run.evals)}, {"training", curve_json(run.training)}};
  if (v == results.plan.baseline) return j;
  for (const Budget budget : {Budget::tokens, Budget::flops, Budget::seconds})
    j["difference"][name_of(budget)] = curve_json(difference_curve(results, budget, v, s));
  return j;
}

// Text from outside may not be UTF-8.
std::string dumped(const ordered_json& j, int indent) {
  return j.dump(indent, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

// ---- CSV and Markdown

std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == text.npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + "\"";
}
std::string csv_cell(const ordered_json& value) {
  if (value.is_null()) return "";
  return value.is_string() ? csv_cell(one_line(value.get<std::string>())) : value.dump();
}
std::string csv_cell(const std::optional<double>& value) {
  return value ? ordered_json(*value).dump() : "";
}

std::string joined(const TextRow& cells, const std::string& between) {
  std::string line;
  for (size_t i = 0; i < cells.size(); ++i) line += (i == 0 ? "" : between) + cells[i];
  return line;
}

std::string markdown_row(const TextRow& cells) {
  TextRow safe;
  for (const std::string& cell : cells) safe.push_back(in_markdown(cell));
  return "| " + joined(safe, " | ") + " |\n";
}

std::string markdown_table(const std::vector<TextRow>& rows) {
  std::string out = markdown_row(rows.front()) + "|---";
  for (size_t i = 1; i < rows.front().size(); ++i) out += "|--:";
  out += "|\n";
  for (size_t r = 1; r < rows.size(); ++r) out += markdown_row(rows[r]);
  return out;
}

// Number of characters on a terminal, without UTF-8 continuation bytes.
size_t width(const std::string& cell) {
  size_t count = 0;
  for (const char c : cell) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return count;
}

std::string aligned(const std::vector<TextRow>& rows) {
  std::vector<size_t> widths(rows.front().size());
  for (const TextRow& row : rows)
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

// Reasons for empty cells in a run's line, and other notes.
std::string csv_note(const CompareResults& results, size_t v, size_t s) {
  std::string note = run_note(results, v, s, false);
  for (const Budget budget : {Budget::tokens, Budget::flops})
    if (const std::string& why = results.variants[v].at[size_t(budget)].why_not; !why.empty())
      note += (note.empty() ? "" : " ") + ("no figure at equal " + std::string(name_of(budget))) + ": " +
              why + ".";
  return note;
}

TextRow csv_row(const CompareResults& results, size_t v, size_t s) {
  const VariantPlan& plan = results.plan.variants[v];
  const ordered_json run = run_json(results, v, s);
  const int64_t tokens = results.variants[v].runs[s].steps_done * plan.plan.tokens_per_step;
  const bool overflowed = run["val_ppl"].is_null() && !run["val_loss"].is_null();
  return {plan.name,
          name_of(plan.config.model.attention.kind),
          csv_cell(run["seed"]),
          csv_cell(run["status"]),
          std::to_string(plan.plan.parameters),
          std::to_string(plan.attention_parameters),
          csv_cell(ordered_json(plan.plan.flops_per_token)),
          std::to_string(plan.plan.arena_bytes),
          csv_cell(run["steps_done"]),
          std::to_string(tokens),
          csv_cell(ordered_json(double(tokens) * plan.plan.flops_per_token)),
          csv_cell(run["val_loss"]),
          overflowed ? "inf" : csv_cell(run["val_ppl"]),
          csv_cell(run["val_bpb"]),
          csv_cell(loss_of(results, Budget::tokens, v, s)),
          csv_cell(loss_of(results, Budget::flops, v, s)),
          csv_cell(csv_note(results, v, s)),
          csv_cell(run["timing"]["tokens_per_s"]),
          csv_cell(run["timing"]["seconds"]),
          csv_cell(loss_of(results, Budget::seconds, v, s)),
          csv_cell(run_note(results, v, s, true))};
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
  return dumped(j, 2);
}

std::string results_csv(const CompareResults& results) {
  std::string csv =
      "variant,kind,seed,status,parameters,parameters_attention,flops_per_token,arena_bytes,steps,tokens,"
      "flops,"
      "val_loss,val_ppl,val_bpb,val_loss_at_equal_tokens,val_loss_at_equal_flops,note,"
      "tokens_per_s,seconds,val_loss_at_equal_seconds,timing_note\n";
  for (size_t s = 0; s < results.plan.seeds.size(); ++s)
    for (size_t v = 0; v < results.variants.size(); ++v) csv += joined(csv_row(results, v, s), ",") + "\n";
  return csv;
}

std::string results_markdown(const CompareResults& results) {
  std::string md = "# Comparison\n\n" + in_markdown(budget_line(results)) + "\n\n" +
                   markdown_table(variant_rows(results)) + "\n";
  for (const VariantResult& variant : results.variants) md += "* " + in_markdown(variant.sentence) + "\n";
  md += "\n";
  for (const std::string& line : notes(results)) md += in_markdown(line) + "\n\n";
  for (const std::string& line : timing_notes(results)) md += in_markdown(line) + "\n\n";
  return md + "## Runs\n\n" + markdown_table(run_rows(results));
}

std::string results_text(const CompareResults& results) {
  std::string out = aligned(variant_rows(results)) + "\n";
  for (const VariantResult& variant : results.variants) out += one_line(variant.sentence) + "\n";
  out += "\n";
  for (const std::string& line : notes(results)) out += one_line(line) + "\n";
  for (const std::string& line : timing_notes(results)) out += one_line(line) + "\n";
  return out;
}

std::string curves_json(const CompareResults& results) {
  ordered_json j = {{"variants", ordered_json::array()}};
  for (size_t v = 0; v < results.variants.size(); ++v) {
    ordered_json runs = ordered_json::array();
    for (size_t s = 0; s < results.plan.seeds.size(); ++s) runs.push_back(run_curves_json(results, v, s));
    j["variants"].push_back(
        {{"name", results.plan.variants[v].name}, {"step_s", nullptr}, {"runs", std::move(runs)}});
    if (const auto ms = results.variants[v].median_step_ms) j["variants"].back()["step_s"] = *ms / 1e3;
  }
  return dumped(j, -1);
}

void write_results(const CompareResults& results, const std::string& dir) {
  atomic_write_file(dir + "/results.json", results_json(results));
  atomic_write_file(dir + "/results.csv", results_csv(results));
  atomic_write_file(dir + "/results.md", results_markdown(results));
}

void write_curves(const CompareResults& results, const std::string& dir) {
  make_dirs(dir + "/plots");
  atomic_write_file(dir + "/plots/curves.json", curves_json(results));
}

}  // namespace saslm
