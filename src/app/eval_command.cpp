#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "app/command.h"
#include "app/console.h"
#include "app/device.h"
#include "app/options.h"
#include "app/print_json.h"
#include "app/terminal.h"
#include "core/error.h"
#include "core/file.h"
#include "core/printable.h"
#include "data/text_tokenizer.h"
#include "infer/load.h"
#include "train/evaluate.h"

namespace saslm {
namespace {

struct EvalArguments {
  std::string checkpoint, device = "auto", tokenizer, losses;
  std::vector<std::string> data;
  int64_t seq_len = 0, max_sequences = 0;
  bool json = false;
};

// The input and result of an evaluation.
struct EvalReport {
  std::string checkpoint;
  int64_t seq_len = 0;
  EvalSample sample;
  EvalResult result;
  std::string no_bits_per_byte;  // why
};

void note(const std::vector<std::string>& lines) {
  for (const std::string& line : lines)
    if (!line.empty()) note_aside(line);
}

// The tokenizer that counts the bytes of the text: --tokenizer, else the model's copy, else the one the data
// names; known ones are compared.
TextTokenizer tokenizer_of_data(const EvalArguments& o, const SavedModel& model, const TokenSet& set) {
  std::vector<std::string> notes;
  TextTokenizer text;
  if (!o.tokenizer.empty()) {
    text.tokenizer = make_tokenizer(tokenizer_for(model, o.tokenizer, notes));
    check_made_by(set, *text.tokenizer);
    note(notes);
    return text;
  }
  note({check_data_of(model, set)});
  if (model.tokenizer_fingerprint.empty() || !tokenizer_exists(model.tokenizer))
    return find_text_tokenizer(set, {set.tokenizer(), model.tokenizer});
  text.tokenizer = make_tokenizer(tokenizer_for(model, "", notes));
  check_holds(set, *text.tokenizer);
  note(notes);
  return text;
}

nlohmann::ordered_json as_json(const EvalSum& sum) {
  nlohmann::ordered_json j = {{"loss", nullptr},          {"ppl", nullptr},
                              {"bits_per_byte", nullptr}, {"sequences", sum.sequences},
                              {"tokens", sum.targets},    {"text_bytes", nullptr}};
  if (sum.targets > 0) j["loss"] = sum.loss(), j["ppl"] = std::exp(sum.loss());
  if (const auto bits = sum.bits_per_byte()) j["bits_per_byte"] = *bits;
  if (sum.text_bytes) j["text_bytes"] = *sum.text_bytes;
  return j;
}

void print_as_json(const EvalReport& report) {
  nlohmann::ordered_json j = {{"checkpoint", report.checkpoint}}, sets = nlohmann::ordered_json::array();
  j.update(as_json(report.result.all));
  j["seq_len"] = report.seq_len;
  j["sequences_in_data"] = report.sample.of();
  if (!report.no_bits_per_byte.empty()) j["no_bits_per_byte"] = report.no_bits_per_byte;
  for (size_t i = 0; i < report.sample.sets.size(); ++i) {
    nlohmann::ordered_json set = {{"data", report.sample.sets[i].pattern}};
    set.update(as_json(report.result.sets[i]));
    set["sequences_in_data"] = report.sample.sets[i].of;
    sets.push_back(std::move(set));
  }
  j["sets"] = std::move(sets);
  print_json(j);
}

void print_line(const std::string& name, const EvalSum& sum, int64_t of, int64_t seq_len) {
  print("  %s", printable(name).c_str());
  if (sum.targets > 0) print("loss %.5f nats, perplexity %.4f", sum.loss(), std::exp(sum.loss()));
  if (const auto bits = sum.bits_per_byte()) print(", %.5f bits per byte", *bits);
  print("  (%lld tokens in %lld sequences of %lld", static_cast<long long>(sum.targets),
        static_cast<long long>(sum.sequences), static_cast<long long>(seq_len));
  if (sum.sequences < of) print(", spread over %s", grouped(of).c_str());
  print(")\n");
}

void print_as_text(const EvalReport& report) {
  const auto& sets = report.sample.sets;
  print("%s\n", printable(report.checkpoint).c_str());
  if (sets.size() > 1)
    for (size_t i = 0; i < sets.size(); ++i)
      print_line(sets[i].pattern + ": ", report.result.sets[i], sets[i].of, report.seq_len);
  print_line(sets.size() > 1 ? "all: " : "", report.result.all, report.sample.of(), report.seq_len);
  if (!report.no_bits_per_byte.empty())
    print("  no bits per byte: %s (--tokenizer gives one)\n", printable(report.no_bits_per_byte).c_str());
}

// The loss of every sequence, as JSON lines in sample order.
class LossList {
 public:
  void add(int64_t sample, double nats_per_target) { lines_[sample] = nats_per_target; }
  void write(const std::string& path) const {
    std::string text;
    for (const auto& [sample, loss] : lines_)
      text += nlohmann::ordered_json{{"sample", sample}, {"loss", loss}}.dump() + "\n";
    atomic_write_file(path, text);
  }

 private:
  std::map<int64_t, double> lines_;
};

int eval(const EvalArguments& o) {
  const DeviceKind kind = o.device == "cuda"  ? DeviceKind::cuda
                          : o.device == "cpu" ? DeviceKind::cpu
                                              : DeviceKind::automatic;
  const Device device = choose_device({.device = kind});
  const SavedModel model = find_saved_model(o.checkpoint);
  warn_of_skipped(model);
  EvalReport report{.checkpoint = model.path, .seq_len = o.seq_len > 0 ? o.seq_len : model.seq_len};
  if (report.seq_len > model.config.max_seq_len)
    throw ConfigError("--seq-len " + std::to_string(report.seq_len) +
                      " is longer than the model's max_seq_len " + std::to_string(model.config.max_seq_len));
  const TokenSet set(o.data, model.config.vocab_size, report.seq_len);
  const TextTokenizer text = tokenizer_of_data(o, model, set);
  report.sample = make_eval_sample(set, o.max_sequences);
  report.no_bits_per_byte = text.why_not;
  const int64_t several = std::clamp<int64_t>(4096 / report.seq_len, 1, 64);
  const int64_t batch = o.losses.empty() ? several : 1, all = report.sample.sequences();
  Console console(0);
  LossList losses;
  const auto progress = [&](int64_t done) { console.evaluating(model.path, done, all); };
  report.result = on_device(device, [&](const auto& ops) {
    const auto engine = load_for_inference(model, {batch, report.seq_len}, ops);
    progress(0);
    return *evaluate(*engine, set, report.sample,
                     {.batch = batch,
                      .tokenizer = text.tokenizer.get(),
                      .progress = progress,
                      .each_batch = [&](int64_t sample, double nats) {
                        if (batch == 1) losses.add(sample, nats / double(report.seq_len));
                      }});
  });
  if (!o.losses.empty()) losses.write(o.losses);
  console.clear_live_line();
  o.json ? print_as_json(report) : print_as_text(report);
  return kDone;
}

}  // namespace

void add_eval_command(CLI::App& app, RunCommand& run) {
  auto o = std::make_shared<EvalArguments>();
  CLI::App* sub = app.add_subcommand("eval",
                                     "Print a model's loss, perplexity and bits per byte\n\nEach pattern of "
                                     "--data gets its own line; the last line covers all of them.");
  sub->group("Look at models and runs");
  add_checkpoint_option(*sub, o->checkpoint);
  sub->add_option("--data", o->data, "Token shards: paths or glob patterns")
      ->type_name("PATTERN")
      ->required();
  sub->add_option("--seq-len", o->seq_len, "Tokens per sequence")
      ->check(integer_in(1))
      ->default_str("as in training");
  sub->add_option("--max-sequences", o->max_sequences,
                  "Number of sequences, spread evenly over the shards and the same each time; 0 for all")
      ->check(integer_in(0, 2147483647))
      ->capture_default_str();
  sub->add_option("--tokenizer", o->tokenizer, "Tokenizer that made the data, to count the bytes of the text")
      ->type_name("FILE")
      ->default_str("the model's, or the one the data names");
  sub->add_option("--losses", o->losses, "File to write each sequence's loss to, as JSON lines")
      ->type_name("FILE");
  add_device_option(*sub, o->device);
  add_json_flag(*sub, o->json);
  sub->footer(
      "Examples:\n"
      "  saslm eval --checkpoint runs/my --data 'data/mine/val_*.bin'\n"
      "  saslm eval --checkpoint runs/my --data 'data/mine/val_*.bin' --losses losses.jsonl\n");
  sub->callback([o, &run] { run = [o] { return eval(*o); }; });
}

}  // namespace saslm
