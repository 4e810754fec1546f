#include "metrics/metrics_log.h"

#include <fcntl.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "core/error.h"

namespace saslm {

using nlohmann::json;
using nlohmann::ordered_json;

namespace {

File open_to_append(const std::string& path) {
  return File(path, O_RDWR | O_CREAT | O_APPEND);
}

enum class Fate { keep, drop, invalid };

// What becomes of one line when the run goes on from `step`; notes evaluations and checkpoints that stay.
Fate fate_of(std::string_view line, int64_t step, bool other_evaluations, ResumeReport& report) {
  // A power cut may leave zeros, which the library takes for the end: what follows would go unseen.
  if (line.find('\0') != line.npos) return Fate::invalid;
  const json event = json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!event.is_object() || !event.contains("event") || !event["event"].is_string()) return Fate::invalid;
  const std::string kind = event["event"];
  if (kind == "end") return Fate::drop;
  const auto at = event.find("step");
  if (kind == "start" || kind == "resume") return Fate::keep;
  if (at == event.end()) return kind == "step" || kind == "eval" ? Fate::invalid : Fate::keep;
  if (!at->is_number_unsigned()) return Fate::invalid;
  const int64_t last = kind == "step" || (kind == "eval" && other_evaluations) ? step - 1 : step;
  if (last < 0 || at->get<uint64_t>() > uint64_t(last)) return Fate::drop;
  if (kind == "checkpoint") {
    report.last_checkpoint_step = at->get<int64_t>();
    const auto hash = event.find("state_hash");
    report.last_state_hash = hash != event.end() && hash->is_string() ? hash->get<std::string>() : "";
  }
  if (kind == "eval") {
    report.last_eval_step = at->get<int64_t>();
    const auto loss = event.find("val_loss");
    report.last_val_loss.reset();
    if (loss != event.end() && loss->is_number()) report.last_val_loss = loss->get<double>();
  }
  return Fate::keep;
}

}  // namespace

MetricsLog::MetricsLog(std::string path) : file_(open_to_append(path)) {}

ResumeReport MetricsLog::resume(int64_t step, bool other_evaluations) {
  const std::string path = file_.path(), text = read_file(path, kAnySize);  // as long as the run
  ResumeReport report;
  std::string kept;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    const bool torn = end == std::string::npos;  // even if it parses: "step":12 may have been 120
    const std::string_view line = std::string_view(text).substr(at, torn ? end : end - at);
    const Fate fate = torn ? Fate::invalid : fate_of(line, step, other_evaluations, report);
    if (fate == Fate::keep) (kept += line) += '\n';
    ++(fate == Fate::keep ? report.kept : fate == Fate::drop ? report.dropped : report.invalid);
    at = torn ? text.size() : end + 1;
  }
  const MetricsSurvey survey = survey_metrics(kept);
  report.missing = without(survey.missing(step), survey.admitted);
  report.repeated = survey.repeated;
  atomic_write_file(path, kept);
  file_ = open_to_append(path);  // the old descriptor belongs to the file that was replaced
  return report;
}

void MetricsLog::log(std::string_view event, const ordered_json& fields) {
  check(fields.is_object(), "the fields of a metrics event are a JSON object");
  ordered_json line = {{"event", event}};
  line.update(fields);
  const std::string text = line.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
  const std::lock_guard lock(mutex_);
  pending_ += text;
  try {
    write_pending();
  } catch (const IoError& e) {
    problem_ = e.what();
  }
}

void MetricsLog::write_pending() {
  if (pending_.empty()) return;
  const int64_t end = file_.size();
  try {
    file_.write_all(bytes_of(pending_));
  } catch (const IoError&) {
    file_.truncate(end);
    throw;
  }
  pending_.clear();
  problem_.clear();
}

void MetricsLog::sync() {
  const std::lock_guard lock(mutex_);
  write_pending();
  file_.sync();
}

std::string MetricsLog::problem() const {
  const std::lock_guard lock(mutex_);
  return problem_;
}

void MetricsLog::log_step(const StepRecord& r) {
  ordered_json fields = {
      {"step", r.step},     {"loss", r.loss},       {"grad_norm", r.grad_norm},       {"lr", r.lr},
      {"tokens", r.tokens}, {"step_ms", r.step_ms}, {"tokens_per_s", r.tokens_per_s}, {"mfu", nullptr}};
  if (r.mfu) fields["mfu"] = *r.mfu;
  if (r.aux_loss) fields["aux_loss"] = *r.aux_loss;
  if (r.skipped)
    fields.update({{"skipped", *r.skipped}, {"first_sample", r.first_sample}, {"samples", r.samples}});
  log("step", fields);
}

void MetricsLog::log_eval(const EvalRecord& r) {
  ordered_json fields = {
      {"step", r.step},     {"val_loss", r.val_loss},   {"val_ppl", r.val_ppl}, {"val_tokens", r.val_tokens},
      {"val_bpb", nullptr}, {"sequences", r.sequences}, {"eval_ms", r.eval_ms}};
  if (r.val_bpb) fields["val_bpb"] = *r.val_bpb;
  log("eval", fields);
}

void MetricsLog::log_checkpoint(const CheckpointRecord& r) {
  log("checkpoint", {{"step", r.step},
                     {"path", r.path},
                     {"bytes", r.bytes},
                     {"save_ms", r.save_ms},
                     {"stall_ms", r.stall_ms},
                     {"state_hash", r.state_hash}});
}

void MetricsLog::log_missing(const std::vector<StepRange>& ranges) {
  // With a step, so that a run that goes on from before it, and makes these steps again, drops it.
  for (const StepRange& range : ranges)
    log("missing_steps", {{"step", range.last + 1}, {"first", range.first}, {"last", range.last}});
}

}  // namespace saslm
