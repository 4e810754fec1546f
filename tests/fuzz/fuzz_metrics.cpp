// Input: two bytes with the step to resume from, and a metrics.jsonl.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>

#include "compare/metrics.h"
#include "fuzz/target.h"
#include "metrics/metrics_log.h"
#include "metrics/survey.h"

namespace saslm::fuzz {
namespace of_metrics {

// Each line of `part` is one of `whole`, in the same order.
bool is_part(std::string_view part, std::string_view whole) {
  while (!part.empty()) {
    const auto [wanted, rest] = cut(part, "\n");
    bool found = false;
    while (!found && !whole.empty()) {
      const auto [line, more] = cut(whole, "\n");
      found = line == wanted, whole = more;
    }
    if (!found) return false;
    part = rest;
  }
  return true;
}

void require_surveyed(std::string_view text) {
  const MetricsSurvey survey = survey_metrics(text);
  require(survey.unreadable >= 0 && survey.unreadable <= survey.lines, "a line is one line");
  require(survey.repeated >= 0, "no step is there less than once");
  const int64_t end = survey.steps_end + 3;
  int64_t next = 0;
  std::vector<StepRange> all = survey.steps;
  const auto missing = survey.missing(end);
  all.insert(all.end(), missing.begin(), missing.end());
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const StepRange& range : all) {
    require(range.first == next && range.last >= range.first, "a step is on record or missing");
    next = range.last + 1;
  }
  require(next == end, "and none is forgotten");
  require(without(missing, missing).empty(), "what is taken from itself leaves nothing");
}

void require_resumes(const std::string& path, std::string_view text, int64_t step) {
  const ResumeReport report = MetricsLog(path).resume(step);
  const std::string kept = read_file(path);
  const int64_t lines = std::count(text.begin(), text.end(), '\n') + (!text.empty() && text.back() != '\n');
  require(report.kept + report.dropped + report.invalid == lines, "every line is accounted for");
  require(std::count(kept.begin(), kept.end(), '\n') == report.kept && is_part(kept, text),
          "what is kept was there");
  require(kept.find('\0') == kept.npos, "what is kept is text");
  require(!report.last_val_loss || std::isfinite(*report.last_val_loss), "a loss in JSON is finite");
  require(!report.last_eval_step || (*report.last_eval_step >= 0 && *report.last_eval_step <= step),
          "evaluations that stay lie before the checkpoint");
  if (kept == text) return;
  const ResumeReport again = MetricsLog(path).resume(step);
  require(again.kept == report.kept && again.dropped == 0 && again.invalid == 0 && read_file(path) == kept,
          "to resume twice is to resume once");
}

// What is read the short way is what the library reads.
void require_scans(std::string_view text) {
  while (!text.empty()) {
    const auto [line, rest] = cut(text, "\n");
    StepLine step;
    if (scan_step(line, step)) {
      const auto event = nlohmann::json::parse(line, nullptr, false);
      require(event.is_object() && event["event"] == "step" && !event.contains("skipped"),
              "it is a step's event");
      require(event["step"] == step.step && event["step_ms"] == step.step_ms, "its numbers are the same");
      require(step.loss ? event["loss"] == *step.loss : event["loss"].is_null(), "its loss is the same");
    }
    text = rest;
  }
}

bool is_run(std::string_view text) {
  require_scans(text);
  TrainConfig train;
  train.steps = 2;
  const RunRecord record = read_run(text, train);
  require(record.steps_done >= 0 && record.unreadable >= 0, "steps are not fewer than none");
  require(!record.finished() || (!record.evals.empty() && record.evals.back().first == 2),
          "a finished run was evaluated at its end");
  require(!(record.last_eval_lost && record.finished()), "a run without its last evaluation is not finished");
  double before = -1;
  for (const auto& [step, loss] : record.evals) {
    require(step > before && std::isfinite(loss), "losses that count are finite, and in order");
    before = step;
  }
  if (!record.evals.empty())
    for (const double step : {0.0, 0.5, 1.0, 1.5, 2.0, 7.0})
      if (const auto loss = read_curve(record.evals, step)) {
        const auto [low, high] =
            std::minmax_element(record.evals.begin(), record.evals.end(),
                                [](const auto& a, const auto& b) { return a.second < b.second; });
        const double room = 1e-9 * (std::abs(low->second) + std::abs(high->second));
        require(!(*loss < low->second - room) && !(*loss > high->second + room),
                "a curve stays between its points");
      }
  return record.status != RunRecord::Status::missing;
}

bool run(std::string_view input) {
  static const Scratch scratch;
  const int64_t step = take<int16_t>(input);
  const bool accepted = is_run(input);
  require_surveyed(input);
  require_resumes(scratch.write("metrics.jsonl", input), input, std::max<int64_t>(step, -1));
  return accepted;
}

std::vector<std::string> seeds() {
  const Scratch scratch;
  {
    MetricsLog log(scratch / "x");
    log.log("start", {{"run", "x"}});
    log.log_eval({.step = 0, .val_loss = 5.5, .val_ppl = 244.7, .val_tokens = 64});
    log.log_step({.step = 0, .loss = 5.25, .grad_norm = 1, .lr = 1e-3, .tokens = 8, .step_ms = 2.5});
    log.log_step(
        {.step = 1, .loss = 5, .step_ms = 2, .mfu = 0.5, .aux_loss = 1.5, .skipped = "spike", .samples = 8});
    log.log_eval({.step = 2, .val_loss = 4.5});
    log.log_checkpoint({.step = 2, .path = "step_00000002", .bytes = 100, .save_ms = 1});
    log.log_missing({{0, 1}});
    log.log("end", {{"step", 2}});
  }
  const std::string text = read_file(scratch / "x");
  return {raw<int16_t>({2}) + text, raw<int16_t>({1}) + text, raw<int16_t>({-1}) + text + "{\"event\":\"st"};
}

}  // namespace of_metrics

const Target kMetrics = {"metrics", of_metrics::run, of_metrics::seeds, {"resume", "step\":-1", "\n"}};

}  // namespace saslm::fuzz
