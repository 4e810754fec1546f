#include "verify/state_diff.h"

#include <bit>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "checkpoint/checkpoint.h"
#include "checkpoint/manifest.h"
#include "config/foreign_model.h"
#include "core/error.h"
#include "core/file.h"

namespace saslm {
namespace {

using nlohmann::json;

constexpr const char* kTimes[] = {"step_ms", "tokens_per_s", "mfu", "eval_ms"};

// Step and evaluation records by (step, event), without what the clock says. Written twice, the later counts.
using Records = std::map<std::pair<int64_t, std::string>, json>;

Records read_records(const std::string& run) {
  Records records;
  const std::string path = run + "/metrics.jsonl";
  if (!path_exists(path)) return records;
  const std::string text = read_file(path, kAnySize);
  for (size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1) {
    json record = json::parse(text.begin() + long(at), text.begin() + long(end), nullptr, false);
    if (!record.is_object()) continue;
    const std::string event = record.value("event", json()).is_string() ? record["event"] : "";
    if ((event != "step" && event != "eval") || !record.value("step", json()).is_number_integer()) continue;
    for (const char* key : kTimes) record.erase(key);
    const int64_t step = record["step"];
    records[{step, event}] = std::move(record);
  }
  return records;
}

std::optional<MetricDifference> first_difference(int64_t step, const std::string& event, const json& a,
                                                 const json& b) {
  json keys = a;
  keys.update(b);
  for (const auto& [key, unused] : keys.items()) {
    const std::string in_a = a.contains(key) ? a[key].dump() : "absent",
                      in_b = b.contains(key) ? b[key].dump() : "absent";
    if (in_a != in_b) return MetricDifference{step, event, key, in_a, in_b};
  }
  return {};
}

// The steps on record, first <= s < end.
std::set<int64_t> steps_of(const Records& records, int64_t first, int64_t end) {
  std::set<int64_t> steps;
  for (const auto& [at, record] : records)
    if (at.second == "step" && at.first >= first && at.first < end) steps.insert(at.first);
  return steps;
}

StepsAlone only_here(const std::set<int64_t>& here, const std::set<int64_t>& there) {
  StepsAlone alone;
  for (const int64_t step : here) {
    if (there.contains(step)) continue;
    if (there.empty() || step < *there.begin() || step > *there.rbegin())
      ++alone.beyond;
    else if (alone.within++ == 0)
      alone.first = step;
  }
  return alone;
}

// A file's tensors whose sums differ, element by element.
void diff_file(const Checkpoint& a, const Checkpoint& b, FileIndex which,
               std::vector<TensorDifference>& found) {
  const auto &sums_a = a.files()[which].tensors, &sums_b = b.files()[which].tensors;
  const SafetensorsReader reader_a(a.path() + "/" + a.files()[which].name),
      reader_b(b.path() + "/" + b.files()[which].name);
  for (const TensorInfo& tensor : reader_a.tensors()) {
    const TensorInfo* const other = reader_b.find(tensor.name);
    if (other == nullptr || other->shape != tensor.shape)
      throw CheckpointError(reader_b.path() + ": tensor '" + tensor.name + "' is " +
                            (other == nullptr ? "missing" : "of another shape") + ", unlike in " +
                            reader_a.path() + "; these are not two states of one model");
    if (sums_a.at(tensor.name) == sums_b.at(tensor.name)) continue;
    std::vector<float> in_a(size_t(tensor.count)), in_b(in_a.size());
    reader_a.read(tensor.name, in_a);
    reader_b.read(tensor.name, in_b);
    TensorDifference difference{.name = tensor.name, .elements = tensor.count};
    for (int64_t i = tensor.count - 1; i >= 0; --i) {
      const float x = in_a[size_t(i)], y = in_b[size_t(i)];
      if (std::bit_cast<uint32_t>(x) == std::bit_cast<uint32_t>(y)) continue;
      ++difference.differing;
      difference.first = i, difference.a = x, difference.b = y;
    }
    found.push_back(difference);
  }
  for (const TensorInfo& tensor : reader_b.tensors())
    if (reader_a.find(tensor.name) == nullptr)
      throw CheckpointError(reader_a.path() + ": tensor '" + tensor.name + "' is missing, unlike in " +
                            reader_b.path() + "; these are not two states of one model");
}

void diff_checkpoints(const std::string& path_a, const std::string& path_b, StateDifference& difference) {
  const Checkpoint a = verify_checkpoint(path_a), b = verify_checkpoint(path_b);
  difference.checkpoints_compared.push_back(a.step());
  for (const FileIndex which : {kModel, kOptimizer}) diff_file(a, b, which, difference.tensors);
}

bool is_checkpoint(const std::string& path) {
  return path_exists(path + "/" + kManifestFile);
}

}  // namespace

void diff_metrics(const std::string& run_a, const std::string& run_b, int64_t first, int64_t end,
                  StateDifference& difference) {
  const Records a = read_records(run_a), b = read_records(run_b);
  for (const auto& [at, record] : a) {
    const auto& [step, event] = at;
    const auto other = b.find(at);
    const int64_t shift = event == "eval" ? 1 : 0;  // an evaluation follows the steps before it
    if (other == b.end() || step < first + shift || step >= end + shift) continue;
    ++difference.steps_compared;
    if (!difference.metric) difference.metric = first_difference(step, event, record, other->second);
  }
  const std::set<int64_t> in_a = steps_of(a, first, end), in_b = steps_of(b, first, end);
  difference.only_a = only_here(in_a, in_b);
  difference.only_b = only_here(in_b, in_a);
}

StateDifference diff(const std::string& a, const std::string& b) {
  StateDifference difference;
  for (const std::string& path : {a, b}) {
    if (!path_exists(path)) throw DataError(path + ": there is nothing here to compare");
    refuse_foreign_model(path);
  }
  if (is_checkpoint(a) != is_checkpoint(b))
    throw DataError("a run and a checkpoint cannot be compared: give two runs or two checkpoints, got " + a +
                    " and " + b);
  if (is_checkpoint(a)) {
    diff_checkpoints(a, b, difference);
    return difference;
  }
  diff_metrics(a, b, -1, std::numeric_limits<int64_t>::max() - 1, difference);
  const auto of_b = list_checkpoints(b + "/checkpoints");
  for (const CheckpointEntry& entry : list_checkpoints(a + "/checkpoints"))
    for (const CheckpointEntry& other : of_b)
      if (entry.step == other.step && difference.tensors.empty())
        diff_checkpoints(entry.path, other.path, difference);
  if (difference.steps_compared == 0 && difference.checkpoints_compared.empty())
    throw DataError(a + " and " + b + " have no step and no checkpoint in common");
  return difference;
}

}  // namespace saslm
