#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "app/command.h"
#include "app/options.h"
#include "app/print_json.h"
#include "app/terminal.h"
#include "checkpoint/checkpoint.h"
#include "config/foreign_model.h"
#include "core/error.h"
#include "core/file.h"
#include "core/printable.h"
#include "data/shard_file.h"
#include "metrics/progress.h"
#include "metrics/survey.h"

namespace saslm {
namespace {

using nlohmann::ordered_json;

struct InspectArguments {
  std::string path;
  bool json = false;
};

// Findings as JSON; "problem" is null if everything is intact.
ordered_json inspect_shard(const std::string& path) {
  const ShardDescription d = describe_shard(path);
  ordered_json j = {{"what", "token shard"}, {"path", path}, {"problem", nullptr}};
  if (!d.problem.empty()) j["problem"] = d.problem;
  if (!d.format) return j;
  j.update({{"format", name_of(*d.format)},
            {"tokens", d.n_tokens},
            {"bytes_per_token", d.token_bytes},
            {"min_token", d.min_token},
            {"max_token", d.max_token}});
  return j;
}

ordered_json tensor_list(const SafetensorsReader& file) {
  ordered_json list = ordered_json::array();
  for (const TensorInfo& t : file.tensors())
    list.push_back({{"name", t.name}, {"dtype", t.dtype}, {"shape", t.shape}, {"count", t.count}});
  return list;
}

ordered_json inspect_safetensors(const std::string& path) {
  ordered_json j = {{"what", "safetensors"}, {"path", path}, {"problem", nullptr}};
  try {
    j["tensors"] = tensor_list(SafetensorsReader(path));
  } catch (const UserError& e) {
    j["problem"] = e.what();
  }
  return j;
}

ordered_json inspect_checkpoint(const std::string& path) {
  ordered_json j = {{"what", "checkpoint"}, {"path", path}, {"problem", nullptr}};
  try {
    const Checkpoint checkpoint = verify_checkpoint(path);
    j["step"] = checkpoint.step();
    for (const FileSum& file : checkpoint.files())
      j["files"].push_back({{"name", file.name}, {"bytes", file.size}, {"xxh3", file.xxh3}});
    j["state"] = ordered_json::parse(checkpoint.state_json(), nullptr, false);
    j["tensors"] = tensor_list(SafetensorsReader(path + "/model.safetensors"));
  } catch (const UserError& e) {
    j["problem"] = e.what();
  }
  return j;
}

// Whether the run has a validation set, according to its newest checkpoint.
bool evaluates(const std::vector<Checkpoint>& whole) {
  if (whole.empty()) return true;
  const auto config = nlohmann::json::parse(whole.back().config_json(), nullptr, false);
  const auto key = nlohmann::json::json_pointer("/data/val");
  return config.contains(key) && !config[key].empty();
}

// Problems of a run's record, one line each; `whole`: its intact checkpoints.
std::vector<std::string> problems_of_record(const std::string& run, const std::vector<Checkpoint>& whole,
                                            ordered_json& j) {
  const std::string path = run + "/metrics.jsonl";
  const MetricsSurvey survey = survey_metrics(path_exists(path) ? read_file(path, kAnySize) : "");
  j["metrics"] = {{"steps", survey.steps_end}, {"unreadable_lines", survey.unreadable}};
  std::vector<std::string> problems;
  const int64_t end = std::max(survey.steps_end, whole.empty() ? 0 : whole.back().step());
  if (const auto missing = survey.missing(end); !missing.empty()) {
    j["metrics"]["missing_steps"] = to_text(missing);
    problems.push_back(path +
                       (path_exists(path) ? " lacks the steps " : " is missing, and with it the steps ") +
                       to_text(missing));
  }
  if (survey.repeated > 0)
    problems.push_back(path + " has " + std::to_string(survey.repeated) + " steps recorded twice");
  if (survey.unreadable > 0)
    problems.push_back(path + " has " + std::to_string(survey.unreadable) + " lines that are not events");
  if (survey.lacks_last_eval() && evaluates(whole))
    problems.push_back(path + " lacks the final evaluation, at step " + std::to_string(*survey.end_step) +
                       "; run `saslm train` with the run's config to evaluate again");
  for (const Checkpoint& checkpoint : whole) {
    const auto on_record = survey.state_hashes.find(checkpoint.step());
    const std::string hash = state_hash(checkpoint.files());
    if (on_record != survey.state_hashes.end() && on_record->second != hash)
      problems.push_back(path + " records the state of step " + std::to_string(checkpoint.step()) +
                         " with the hash " + on_record->second + ", " + checkpoint.path() + " has " + hash +
                         ": they belong to two different runs");
  }
  return problems;
}

ordered_json inspect_run(const std::string& path) {
  ordered_json j = {
      {"what", "run"}, {"path", path}, {"problem", nullptr}, {"checkpoints", ordered_json::array()}};
  std::vector<Checkpoint> whole;
  bool damaged = false;
  for (const CheckpointEntry& entry : list_checkpoints(path + "/checkpoints")) {
    ordered_json problem;
    try {
      whole.push_back(verify_checkpoint(entry.path));
    } catch (const CheckpointError& e) {
      problem = e.what();
      damaged = true;
    }
    j["checkpoints"].push_back({{"path", entry.path}, {"step", entry.step}, {"problem", problem}});
  }
  if (!whole.empty()) {
    const auto state = ordered_json::parse(whole.back().state_json(), nullptr, false);
    for (const char* key : {"origin", "tokenizer"})
      if (state.is_object() && state.contains(key)) j[key] = state[key];
  }
  std::string problem = damaged ? "a checkpoint is damaged" : "";
  for (const std::string& line : problems_of_record(path, whole, j))
    problem += (problem.empty() ? "" : "; ") + line;
  if (!problem.empty()) j["problem"] = problem;
  return j;
}

ordered_json inspect_any(const std::string& path) {
  namespace fs = std::filesystem;
  if (!path_exists(path)) throw DataError(path + ": nothing to inspect here");
  const auto what_else = [&](const std::string& advice) {
    return DataError(path + ": not a shard, safetensors file, checkpoint or run; " + advice);
  };
  if (!fs::is_directory(path)) {
    if (const std::string what = foreign_model_at(path); !what.empty() && !path.ends_with(".safetensors"))
      throw what_else("it is " + what + "; " + how_to_import());
    if (path.ends_with(".json") || path.ends_with(".jsonl")) throw what_else("it is a text file");
    return path.ends_with(".safetensors") ? inspect_safetensors(path) : inspect_shard(path);
  }
  if (path_exists(path + "/manifest.json")) return inspect_checkpoint(path);
  if (const std::string what = foreign_model_at(path); !what.empty())
    throw what_else("it is " + what + "; " + how_to_import());
  if (path_exists(path + "/model.safetensors") && !fs::path(path).filename().string().starts_with("step_"))
    return inspect_safetensors(path + "/model.safetensors");
  if (path_exists(path + "/checkpoints") || path_exists(path + "/metrics.jsonl")) return inspect_run(path);
  if (path_exists(path + "/comparison.json")) throw what_else("its runs are in " + path + "/runs");
  if (!path_exists(path + "/state.json") && !path_exists(path + "/model.safetensors") &&
      !fs::path(path).filename().string().starts_with("step_"))
    throw what_else("give a file, a checkpoint folder or a run directory");
  return inspect_checkpoint(path);
}

void print_text(const ordered_json& j) {
  print("%s %s: %s\n", j["what"].get<std::string>().c_str(), printable(j["path"].get<std::string>()).c_str(),
        j["problem"].is_null() ? "whole" : "DAMAGED");
  for (const auto& [key, value] : j.items()) {
    if (key == "what" || key == "path" || key == "tensors" || value.is_null()) continue;
    if (!value.is_array()) {
      print("  %-16s %s\n", printable(key).c_str(),
            printable(value.is_string() ? value.get<std::string>() : text_of(value)).c_str());
      continue;
    }
    print("  %s\n", printable(key).c_str());
    for (const auto& item : value) print("    %s\n", printable(text_of(item)).c_str());
  }
  if (!j.contains("tensors")) return;
  int64_t total = 0;
  for (const auto& t : j["tensors"]) {
    print("  %-44s %-5s %s\n", printable(t["name"].get<std::string>()).c_str(),
          t["dtype"].get<std::string>().c_str(), t["shape"].dump().c_str());
    total += t["count"].get<int64_t>();
  }
  print("  %zu tensors, %s elements\n", j["tensors"].size(), human_count(double(total)).c_str());
}

int inspect(const InspectArguments& o) {
  const ordered_json j = inspect_any(o.path);
  if (o.json)
    print_json(j, 2);
  else
    print_text(j);
  return j["problem"].is_null() ? kDone : 2;
}

}  // namespace

void add_inspect_command(CLI::App& app, RunCommand& run) {
  auto o = std::make_shared<InspectArguments>();
  CLI::App* sub = app.add_subcommand(
      "inspect",
      "Describe a run, checkpoint, safetensors file or shard, and check it\n\nEvery byte is checked against "
      "the stored checksums. Damaged files are named, with exit code 2.");
  sub->group("Look at models and runs");
  sub->add_option("PATH", o->path, "A run directory, a checkpoint, or a file")->type_name("PATH")->required();
  add_json_flag(*sub, o->json);
  sub->footer(
      "Examples:\n"
      "  saslm inspect runs/my\n"
      "  saslm inspect data/mine/train_000000.bin\n"
      "\n"
      "See also: saslm help run\n");
  sub->callback([o, &run] { run = [o] { return inspect(*o); }; });
}

}  // namespace saslm
