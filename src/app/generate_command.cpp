#include <CLI/CLI.hpp>
#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>

#include "app/command.h"
#include "app/console.h"
#include "app/device.h"
#include "app/options.h"
#include "app/print_json.h"
#include "app/terminal.h"
#include "core/error.h"
#include "infer/generate.h"
#include "infer/load.h"

namespace saslm {
namespace {

struct GenerateArguments {
  std::string checkpoint, prompt, tokenizer;
  SamplingOptions sampling;
  bool json = false;
};

int generate_text(const GenerateArguments& o) {
  const Device device = choose_device({});
  const SavedModel model = find_saved_model(o.checkpoint);
  warn_of_skipped(model);
  std::vector<std::string> notes;
  const TokenizerCopy copy = tokenizer_for(model, o.tokenizer, notes);
  for (const std::string& line : notes) std::cerr << "note: " << line << "\n";
  const auto tokenizer = make_tokenizer(copy);
  if (tokenizer->vocab_size() > model.config.vocab_size)
    throw ConfigError("the tokenizer " + copy.name + " has " + std::to_string(tokenizer->vocab_size()) +
                      " tokens, but the model has only " + std::to_string(model.config.vocab_size));
  std::vector<int32_t> prompt = tokenizer->encode(o.prompt);
  if (prompt.empty()) prompt.push_back(tokenizer->boundary());

  const int64_t seq_len = model.config.max_seq_len;
  std::string text;
  const auto begin = std::chrono::steady_clock::now();
  GeneratedText shown;
  if (!o.json) shown.add(o.prompt);
  on_device(device, [&](const auto& ops) {
    const auto engine = load_for_inference(model, {1, seq_len}, ops);
    generate(*engine, prompt, o.sampling, seq_len, [&](int32_t token) {
      // The model's vocabulary may be larger than the tokenizer's; such tokens have no text.
      const std::string piece = token < tokenizer->vocab_size() ? tokenizer->word(token) : "";
      text += piece;
      if (!o.json) shown.add(piece);
    });
  });
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (o.json)
    print_json(nlohmann::ordered_json{{"checkpoint", model.path},
                                      {"prompt", o.prompt},
                                      {"text", text},
                                      {"tokens", o.sampling.tokens},
                                      {"tokens_per_s", double(o.sampling.tokens) / seconds}});
  else
    shown.end();
  return kDone;
}

}  // namespace

void add_generate_command(CLI::App& app, RunCommand& run) {
  auto o = std::make_shared<GenerateArguments>();
  CLI::App* sub = app.add_subcommand("generate", "Continue a prompt with a model");
  sub->group("Look at models and runs");
  add_checkpoint_option(*sub, o->checkpoint);
  sub->add_option("--prompt", o->prompt, "Text to continue")->default_str("the beginning of a document");
  sub->add_option("--tokens", o->sampling.tokens, "Number of tokens to generate")
      ->check(integer_in(0))
      ->capture_default_str();
  sub->add_option("--temperature", o->sampling.temperature,
                  "Sampling temperature; 0 takes the most likely token")
      ->check(number_from(0))
      ->capture_default_str();
  sub->add_option("--top-k", o->sampling.top_k, "Sample from this many of the most likely tokens; 0 for all")
      ->check(integer_in(0))
      ->capture_default_str();
  sub->add_option("--seed", o->sampling.seed, "Seed of the sampling; the same seed gives the same text")
      ->check(integer_in(0))
      ->capture_default_str();
  add_tokenizer_option(*sub, o->tokenizer);
  add_json_flag(*sub, o->json);
  sub->footer(
      "Examples:\n"
      "  saslm generate --checkpoint runs/my --prompt 'Once'\n"
      "  saslm generate --checkpoint runs/my --prompt 'Once' --temperature 0.8 --top-k 40 --seed 2\n");
  sub->callback([o, &run] { run = [o] { return generate_text(*o); }; });
}

}  // namespace saslm
