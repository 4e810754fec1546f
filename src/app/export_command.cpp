#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "app/command.h"
#include "app/console.h"
#include "app/options.h"
#include "app/print_json.h"
#include "app/terminal.h"
#include "core/error.h"
#include "core/printable.h"
#include "data/tokenizer_copy.h"
#include "export/export.h"
#include "export/folder.h"
#include "infer/load.h"
#include "metrics/progress.h"

namespace saslm {
namespace {

struct ExportArguments {
  std::string checkpoint, out, tokenizer, dtype = "fp32", format = "hf";
  bool no_tokenizer = false, json = false;
};

// The tokenizer to write, checked to exist and to be the model's, as for make_tokenizer; "" for none.
std::string tokenizer_of(const SavedModel& model, const ExportArguments& o) {
  if (o.no_tokenizer) return "";
  try {
    std::vector<std::string> notes;
    make_tokenizer(tokenizer_for(model, o.tokenizer, notes));
    for (const std::string& note : notes) std::cerr << "note: " << note << "\n";
  } catch (const UserError& error) {
    throw ConfigError(error.what() + std::string("; or give --no-tokenizer"));
  }
  return o.tokenizer.empty() ? model.tokenizer : o.tokenizer;
}

int export_command(const ExportArguments& o) {
  check_new_folder(o.out);
  const SavedModel model = find_saved_model(o.checkpoint);
  warn_of_skipped(model);
  const std::string tokenizer = tokenizer_of(model, o);
  const auto engine = load_for_inference(model, {.batch = 1, .seq_len = 1}, cpu_ops<float>());
  const StateTensors state = engine->state().fetch();
  const ExportResult done = export_model({.model = model.config,
                                          .weights = state.weights,
                                          .tokenizer = tokenizer,
                                          .type = o.dtype == "bf16" ? TensorType::bf16 : TensorType::f32,
                                          .out = o.out});
  for (const std::string& note : done.notes) std::cerr << "note: " << printable(note) << "\n";
  for (const std::string& warning : done.warnings) std::cerr << "warning: " << printable(warning) << "\n";
  if (o.json) {
    print_json(nlohmann::ordered_json{{"checkpoint", model.path},
                                      {"out", done.out},
                                      {"class", done.architecture},
                                      {"dtype", o.dtype},
                                      {"tensors", done.tensors},
                                      {"parameters", done.parameters},
                                      {"files", done.files},
                                      {"notes", done.notes},
                                      {"warnings", done.warnings}});
    return kDone;
  }
  print("%s\n  from %s: %s with %s parameters, %s\n", printable(done.out).c_str(),
        printable(model.path).c_str(), done.architecture.c_str(),
        human_count(double(done.parameters)).c_str(), o.dtype.c_str());
  return kDone;
}

}  // namespace

void add_export_command(CLI::App& app, RunCommand& run) {
  auto o = std::make_shared<ExportArguments>();
  CLI::App* sub = app.add_subcommand(
      "export",
      "Write a model as a folder that transformers loads\n\ntransformers computes the same logits from it. "
      "The model becomes a Llama or GPT-2 if one of these classes computes it exactly; otherwise the folder "
      "contains its own class, which needs trust_remote_code=True.");
  sub->group("Exchange with Hugging Face's transformers");
  add_checkpoint_option(*sub, o->checkpoint);
  sub->add_option("--out", o->out, "Folder to write; it must be empty or new")->check(folder())->required();
  sub->add_option("--format", o->format, "Format of the folder; hf is Hugging Face's transformers")
      ->check(CLI::IsMember({"hf"}))
      ->capture_default_str();
  sub->add_option("--dtype", o->dtype, "Number format of the weights")
      ->check(CLI::IsMember({"fp32", "bf16"}))
      ->capture_default_str();
  add_tokenizer_option(*sub, o->tokenizer);
  sub->add_flag("--no-tokenizer", o->no_tokenizer, "Write no tokenizer")->excludes("--tokenizer");
  add_json_flag(*sub, o->json);
  sub->footer(
      "Examples:\n"
      "  saslm export --checkpoint runs/my --out hf/my\n"
      "  saslm export --checkpoint runs/my --out hf/my-bf16 --dtype bf16\n");
  sub->callback([o, &run] { run = [o] { return export_command(*o); }; });
}

}  // namespace saslm
