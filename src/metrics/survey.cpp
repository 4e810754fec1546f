#include "metrics/survey.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

namespace saslm {
namespace {

using nlohmann::json;

constexpr size_t kMostRangesTold = 8;

std::optional<int64_t> count_in(const json& event, const char* key) {
  const auto at = event.find(key);
  constexpr auto kMost = uint64_t(std::numeric_limits<int64_t>::max()) - 1;  // + 1 is a number of steps, too
  if (at == event.end() || !at->is_number_unsigned() || at->get<uint64_t>() > kMost) return {};
  return at->get<int64_t>();
}

// Sorted, and neighbours made one; returns how many steps were there twice.
int64_t merge(std::vector<StepRange>& ranges) {
  std::sort(ranges.begin(), ranges.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<StepRange> merged;
  int64_t twice = 0;
  for (const StepRange& range : ranges) {
    if (merged.empty() || range.first > merged.back().last + 1) {
      merged.push_back(range);
      continue;
    }
    StepRange& before = merged.back();
    twice += std::max<int64_t>(0, std::min(before.last, range.last) - range.first + 1);
    before.last = std::max(before.last, range.last);
  }
  ranges = std::move(merged);
  return twice;
}

void add_step(std::vector<StepRange>& steps, int64_t step) {
  if (!steps.empty() && steps.back().last + 1 == step)
    steps.back().last = step;  // nearly always
  else
    steps.push_back({step, step});
}

void add_event(MetricsSurvey& survey, const json& event, const std::string& kind) {
  const auto step = count_in(event, "step");
  if (kind == "missing_steps") {
    const auto first = count_in(event, "first"), last = count_in(event, "last");
    if (first && last && *first <= *last) survey.admitted.push_back({*first, *last});
  }
  if (!step) return;
  if (kind == "step") {
    add_step(survey.steps, *step);
  } else if (kind == "eval") {
    if (!survey.first_eval_step) survey.first_eval_step = step;
    survey.last_eval_step = step;
    const auto loss = event.find("val_loss");
    survey.last_val_loss.reset();
    if (loss != event.end() && loss->is_number()) survey.last_val_loss = loss->get<double>();
  } else if (kind == "end") {
    survey.end_step = step;
  } else if (kind == "checkpoint") {
    const auto hash = event.find("state_hash");
    if (hash != event.end() && hash->is_string()) survey.state_hashes[*step] = hash->get<std::string>();
  }
}

}  // namespace

std::string to_text(const std::vector<StepRange>& ranges) {
  std::string text;
  for (size_t i = 0; i < std::min(ranges.size(), kMostRangesTold); ++i) {
    const auto& [first, last] = ranges[i];
    text += (i == 0 ? "" : ", ") + std::to_string(first);
    if (last > first) text += " to " + std::to_string(last);
  }
  if (ranges.size() > kMostRangesTold)
    text += " and " + std::to_string(ranges.size() - kMostRangesTold) + " more ranges";
  return text;
}

std::vector<StepRange> without(const std::vector<StepRange>& all, const std::vector<StepRange>& taken) {
  std::vector<StepRange> sorted = taken, rest;
  merge(sorted);
  for (StepRange range : all) {
    auto cut = std::lower_bound(sorted.begin(), sorted.end(), range.first,
                                [](const StepRange& r, int64_t step) { return r.last < step; });
    for (; cut != sorted.end() && cut->first <= range.last; ++cut) {
      if (cut->first > range.first) rest.push_back({range.first, cut->first - 1});
      range.first = cut->last + 1;
    }
    if (range.first <= range.last) rest.push_back(range);
  }
  return rest;
}

std::vector<StepRange> MetricsSurvey::missing(int64_t end) const {
  if (end <= 0) return {};
  return without({{0, end - 1}}, steps);
}

bool MetricsSurvey::lacks_last_eval() const {
  return end_step && first_eval_step && last_eval_step != end_step;
}

MetricsSurvey survey_metrics(std::string_view text) {
  MetricsSurvey survey;
  for (size_t at = 0, end; (end = text.find('\n', at)) != text.npos; at = end + 1) {
    const std::string_view line = text.substr(at, end - at);
    ++survey.lines;
    // A zero byte is the text's end to the library.
    const json event = line.find('\0') == line.npos ? json::parse(line, nullptr, false) : json();
    const auto kind = event.is_object() ? event.find("event") : event.end();
    if (!event.is_object() || kind == event.end() || !kind->is_string()) {
      ++survey.unreadable;
      continue;
    }
    add_event(survey, event, kind->get<std::string>());
  }
  survey.repeated = merge(survey.steps);
  if (!survey.steps.empty()) survey.steps_end = survey.steps.back().last + 1;
  return survey;
}

}  // namespace saslm
