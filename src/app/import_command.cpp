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

struct Options {
  std::string from, out;
  int64_t max_seq_len = 0;
  bool json = false;
};

int import_command(const Options& o) {
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
  print("%s\n  from %s: %s of %s numbers, fp32\n", printable(done.out).c_str(), printable(o.from).c_str(),
        done.architecture.c_str(), human_count(double(done.parameters)).c_str());
  return kDone;
}

}  // namespace

void add_import_command(CLI::App& app, RunCommand& run) {
  auto o = std::make_shared<Options>();
  CLI::App* sub = app.add_subcommand("import",
                                     "Make a Llama- or GPT-2-class model of transformers one that eval, "
                                     "generate, export and --init-from take");
  sub->add_option("--from", o->from, "Its folder: config.json and safetensors")->check(folder())->required();
  sub->add_option("--out", o->out, "The folder to write; must not exist, or be empty")
      ->check(folder())
      ->required();
  sub->add_option("--max-seq-len", o->max_seq_len,
                  "A shorter context than the model's, where positions are rotary")
      ->check(integer_in(1));
  sub->add_flag("--json", o->json, "Print one JSON object");
  sub->callback([o, &run] { run = [o] { return import_command(*o); }; });
}

}  // namespace saslm
