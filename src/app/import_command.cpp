#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "app/command.h"
#include "app/options.h"
#include "app/print_json.h"
#include "app/terminal.h"
#include "core/printable.h"
#include "export/import.h"
#include "metrics/progress.h"

namespace saslm {
namespace {

struct ImportArguments {
  std::string from, out;
  int64_t max_seq_len = 0;
  bool json = false;
};

int import_command(const ImportArguments& o) {
  const ImportResult done = import_model({.from = o.from, .out = o.out, .max_seq_len = o.max_seq_len});
  for (const std::string& note : done.notes) std::cerr << "note: " << note << "\n";
  if (o.json) {
    print_json(
        nlohmann::ordered_json{{"from", o.from},
                               {"out", done.out},
                               {"class", done.architecture},
                               {"model", nlohmann::ordered_json::parse(to_json(done.model))},
                               {"tokenizer", done.tokenizer.empty() ? nlohmann::ordered_json()
                                                                    : nlohmann::ordered_json(done.tokenizer)},
                               {"tensors", done.tensors},
                               {"parameters", done.parameters},
                               {"files", done.files},
                               {"notes", done.notes}});
    return kDone;
  }
  print("%s\n  from %s: %s with %s parameters, fp32\n", printable(done.out).c_str(),
        printable(o.from).c_str(), done.architecture.c_str(), human_count(double(done.parameters)).c_str());
  return kDone;
}

}  // namespace

void add_import_command(CLI::App& app, RunCommand& run) {
  auto o = std::make_shared<ImportArguments>();
  CLI::App* sub =
      app.add_subcommand("import",
                         "Convert a transformers model into a saslm model\n\nThe model must be a Llama or "
                         "GPT-2 that saslm computes exactly; all others are refused. eval, generate, export "
                         "and train --init-from take the folder that is written.");
  sub->group("Exchange with Hugging Face's transformers");
  sub->add_option("--from", o->from, "Folder with the model's config.json and safetensors files")
      ->check(folder())
      ->required();
  sub->add_option("--out", o->out, "Folder to write; it must be empty or new")->check(folder())->required();
  sub->add_option("--max-seq-len", o->max_seq_len, "Shorter context length, for models with rotary positions")
      ->check(integer_in(1))
      ->default_str("the model's");
  add_json_flag(*sub, o->json);
  sub->footer(
      "Examples:\n"
      "  saslm import --from hf/llama --out imported\n");
  sub->callback([o, &run] { run = [o] { return import_command(*o); }; });
}

}  // namespace saslm
