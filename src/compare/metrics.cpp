#include "compare/metrics.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

namespace saslm {
namespace {

using nlohmann::json;

constexpr size_t kCurvePoints = 400;  // of a smoothed training curve
constexpr size_t kQuarters = 4, kLeastSteps = 10;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// Scans a line in exactly the form in which it is written.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  bool take(std::string_view word) {
    if (!text_.starts_with(word)) return false;
    text_.remove_prefix(word.size());
    return true;
  }
  bool take_count(int64_t& value) {
    const size_t n = digits();
    if (n == 0 || n > 15 || (n > 1 && text_[0] == '0')) return false;
    std::from_chars(text_.data(), text_.data() + n, value);
    text_.remove_prefix(n);
    return true;
  }
  // JSON numbers; those that may not fit into a double are left to the library.
  bool skip_number() {
    take("-");
    const size_t n = digits();
    if (n == 0 || n > 20 || (n > 1 && text_[0] == '0')) return false;
    text_.remove_prefix(n);
    if (take(".") && !take_digits(40)) return false;
    if (!take("e") && !take("E")) return true;
    if (!take("-")) take("+");
    return take_digits(2);
  }
  bool take_number(double& value) {
    const char* const begin = text_.data();
    return skip_number() && std::from_chars(begin, text_.data(), value).ptr == text_.data();
  }
  bool take_number(std::optional<double>& value) { return take("null") || take_number(value.emplace()); }
  bool skip_number_or_null() { return take("null") || skip_number(); }
  bool at_end() const { return text_.empty(); }

 private:
  size_t digits() const {
    size_t n = 0;
    while (n < text_.size() && is_digit(text_[n])) ++n;
    return n;
  }
  bool take_digits(size_t most) {
    const size_t n = digits();
    text_.remove_prefix(n);
    return n > 0 && n <= most;
  }

  std::string_view text_;
};

double median_of(const std::vector<double>& values, size_t first, size_t last) {
  return median({values.begin() + int64_t(first), values.begin() + int64_t(last)});
}

RunSpeed speed_of(const std::vector<double>& step_ms) {
  RunSpeed speed{.median_ms = median(step_ms)};
  speed.fastest_ms = speed.slowest_ms = speed.median_ms;
  const size_t parts = std::min(kQuarters, step_ms.size() / kLeastSteps);
  for (size_t part = 0; parts > 1 && part < parts; ++part) {
    const double ms = median_of(step_ms, step_ms.size() * part / parts, step_ms.size() * (part + 1) / parts);
    speed.fastest_ms = part == 0 ? ms : std::min(speed.fastest_ms, ms);
    speed.slowest_ms = part == 0 ? ms : std::max(speed.slowest_ms, ms);
  }
  return speed;
}

// Exponentially weighted mean over about a fortieth of the run, unbiased at its start.
LossCurve smoothed(const LossCurve& steps) {
  const double keep = 1 - 1 / std::max(1.0, double(steps.size()) / 40);
  double total = 0, weight = 0;
  LossCurve curve;
  const size_t stride = std::max<size_t>(1, steps.size() / kCurvePoints);
  for (size_t i = 0; i < steps.size(); ++i) {
    total = total * keep + steps[i].second, weight = weight * keep + 1;
    if (i % stride == 0 || i + 1 == steps.size()) curve.emplace_back(steps[i].first, total / weight);
  }
  return curve;
}

// "step" of a parsed event; -1 if it has none.
int64_t step_of(const json& event) {
  const auto step = event.find("step");
  if (step == event.end() || !step->is_number_unsigned()) return -1;
  const auto value = step->get<uint64_t>();
  return value < uint64_t(std::numeric_limits<int64_t>::max()) ? int64_t(value) : -1;
}

bool is_loss(const json& event, const char* key) {
  const auto value = event.find(key);
  return value != event.end() && (value->is_number() || value->is_null());
}

// Whether a value is a valid step time.
bool is_step_time(double ms) {
  return ms >= 1e-6 && ms < 1e12;
}

class RunReader {
 public:
  explicit RunReader(const TrainConfig& train) : train_(train) {}

  void read(std::string_view line) {
    run_.status = RunRecord::Status::partial;
    if (StepLine step; scan_step(line, step)) return add(step, false);
    // A power cut may leave zero bytes, at which the library would stop.
    const json event = line.find('\0') == line.npos ? json::parse(line, nullptr, false) : json();
    if (!event.is_object() || !read(event)) ++run_.unreadable;
  }

  RunRecord end() {
    for (const double ms : step_ms_) run_.seconds += ms / 1e3;
    if (!step_ms_.empty()) run_.speed = speed_of(step_ms_);
    run_.training = smoothed(losses_);
    const bool evaluated = last_eval_ == train_.steps;
    run_.last_eval_lost = ended_ && !evaluated;
    if (ended_ && evaluated)
      run_.status = last_eval_finite_ ? RunRecord::Status::finished : RunRecord::Status::diverged;
    else if (refused_in_row_ >= train_.max_bad_steps)
      run_.status = RunRecord::Status::diverged;
    return std::move(run_);
  }

 private:
  // False: not a valid event.
  bool read(const json& event) {
    const auto kind = event.find("event");
    if (kind == event.end() || !kind->is_string()) return false;
    if (*kind == "step") return read_step(event);
    if (*kind == "eval") return read_eval(event);
    if (*kind == "end") ended_ = step_of(event) == train_.steps;
    return *kind != "end" || step_of(event) >= 0;
  }

  bool read_step(const json& event) {
    const auto ms = event.find("step_ms");
    StepLine step{.step = step_of(event)};
    if (step.step < 0 || ms == event.end() || !is_loss(event, "loss")) return false;
    if (ms->is_number()) step.step_ms = ms->get<double>();
    if (event["loss"].is_number()) step.loss = event["loss"].get<double>();
    add(step, event.contains("skipped"));
    return true;
  }

  void add(const StepLine& step, bool refused) {
    run_.steps_done = step.step + 1;
    if (is_step_time(step.step_ms))
      step_ms_.push_back(step.step_ms);
    else
      ++run_.untimed;
    if (step.loss) losses_.emplace_back(double(step.step + 1), *step.loss);
    refused_in_row_ = refused ? refused_in_row_ + 1 : 0;
  }

  bool read_eval(const json& event) {
    const int64_t step = step_of(event);
    if (step < 0 || !is_loss(event, "val_loss")) return false;
    last_eval_ = step;
    while (!run_.evals.empty() && run_.evals.back().first >= double(step)) run_.evals.pop_back();
    const json& loss = event["val_loss"];
    last_eval_finite_ = loss.is_number();
    if (last_eval_finite_) run_.evals.emplace_back(double(step), loss.get<double>());
    run_.bits_per_byte.reset();
    if (const auto bpb = event.find("val_bpb"); bpb != event.end() && bpb->is_number())
      run_.bits_per_byte = bpb->get<double>();
    return true;
  }

  const TrainConfig& train_;
  RunRecord run_;
  std::vector<double> step_ms_;
  LossCurve losses_;  // of steps
  int64_t refused_in_row_ = 0, last_eval_ = -1;
  bool ended_ = false, last_eval_finite_ = false;
};

}  // namespace

const char* name_of(RunRecord::Status status) {
  constexpr std::array kWords = {"missing", "partial", "finished", "diverged"};
  return kWords.at(size_t(status));
}

bool scan_step(std::string_view line, StepLine& found) {
  Scanner s(line);
  int64_t tokens = 0;
  found = {};
  return s.take("{\"event\":\"step\",\"step\":") && s.take_count(found.step) && s.take(",\"loss\":") &&
         s.take_number(found.loss) && s.take(",\"grad_norm\":") && s.skip_number_or_null() &&
         s.take(",\"lr\":") && s.skip_number() && s.take(",\"tokens\":") && s.take_count(tokens) &&
         s.take(",\"step_ms\":") && s.take_number(found.step_ms) && s.take(",\"tokens_per_s\":") &&
         s.skip_number_or_null() && s.take(",\"mfu\":") && s.skip_number_or_null() &&
         (!s.take(",\"aux_loss\":") || s.skip_number_or_null()) && s.take("}") && s.at_end();
}

RunRecord read_run(std::string_view metrics, const TrainConfig& train) {
  RunReader reader(train);
  while (!metrics.empty()) {
    const size_t end = metrics.find('\n');
    if (end == metrics.npos) break;
    reader.read(metrics.substr(0, end));
    metrics.remove_prefix(end + 1);
  }
  return reader.end();
}

}  // namespace saslm
