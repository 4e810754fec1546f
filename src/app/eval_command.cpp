#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <numbers>

#include "app/command.h"
#include "app/console.h"
#include "app/device.h"
#include "app/options.h"
#include "app/print_json.h"
#include "app/terminal.h"
#include "core/printable.h"
#include "train/evaluate.h"
#include "train/saved_model.h"

namespace saslm {
namespace {

struct Options {
  std::string checkpoint, device = "auto";
  std::vector<std::string> data;
  int64_t seq_len = 0, max_sequences = 0;
  bool json = false;
};

int eval(const Options& o) {
  const DeviceKind kind = o.device == "cuda"  ? DeviceKind::cuda
                          : o.device == "cpu" ? DeviceKind::cpu
                                              : DeviceKind::automatic;
  const Device device = choose_device({.device = kind});
  const SavedModel model = find_saved_model(o.checkpoint);
  warn_of_skipped(model);
  const int64_t seq_len = o.seq_len > 0 ? o.seq_len : model.seq_len;
  if (seq_len > model.config.max_seq_len)
    throw ConfigError("--seq-len " + std::to_string(seq_len) + " is longer than the model's max_seq_len " +
                      std::to_string(model.config.max_seq_len));
  const TokenSet set(o.data, model.config.vocab_size, seq_len);
  const int64_t batch = std::clamp<int64_t>(4096 / seq_len, 1, 64);
  const EvalResult result = on_device(device, [&](const auto& ops) {
    const auto engine = load_for_inference(model, {batch, seq_len}, ops);
    return *evaluate(*engine, set, o.max_sequences, batch);
  });

  std::optional<double> bits_per_byte;
  if (set.bytes_per_token()) bits_per_byte = result.loss / std::numbers::ln2 / *set.bytes_per_token();
  if (o.json) {
    nlohmann::ordered_json j = {
        {"checkpoint", model.path}, {"loss", result.loss},           {"ppl", std::exp(result.loss)},
        {"bits_per_byte", nullptr}, {"sequences", result.sequences}, {"tokens", result.tokens},
        {"seq_len", seq_len}};
    if (bits_per_byte) j["bits_per_byte"] = *bits_per_byte;
    print_json(j);
    return kDone;
  }
  print("%s\n  loss %.5f nats, perplexity %.4f", printable(model.path).c_str(), result.loss,
        std::exp(result.loss));
  if (bits_per_byte) print(", %.5f bits per byte", *bits_per_byte);
  print("  (%lld tokens in %lld sequences of %lld)\n", static_cast<long long>(result.tokens),
        static_cast<long long>(result.sequences), static_cast<long long>(seq_len));
  return kDone;
}

}  // namespace

void add_eval_command(CLI::App& app, RunCommand& run) {
  auto o = std::make_shared<Options>();
  CLI::App* sub = app.add_subcommand("eval", "Loss, perplexity and bits per byte of a saved model");
  sub->add_option("--checkpoint", o->checkpoint,
                  "A checkpoint, a run directory, or model.safetensors + config.json")
      ->check(folder())
      ->required();
  sub->add_option("--data", o->data, "Token shards (glob patterns)")->required();
  sub->add_option("--seq-len", o->seq_len, "Default: as trained")->check(integer_in(1));
  sub->add_option("--max-sequences", o->max_sequences, "0 = all")->check(integer_in(0));
  sub->add_option("--device", o->device, "auto, cpu or cuda")->check(CLI::IsMember({"auto", "cpu", "cuda"}));
  sub->add_flag("--json", o->json, "Print one JSON object");
  sub->callback([o, &run] { run = [o] { return eval(*o); }; });
}

}  // namespace saslm
