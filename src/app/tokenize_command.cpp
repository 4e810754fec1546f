#include <omp.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>

#include "app/command.h"
#include "app/options.h"
#include "app/print_json.h"
#include "app/terminal.h"
#include "core/error.h"
#include "core/printable.h"
#include "data/tokenize.h"
#include "data/tokenize_raw.h"
#include "metrics/progress.h"

namespace saslm {
namespace {

struct TokenizeArguments {
  TokenizeOptions work;
  std::string tokenizer, dtype = "auto", input_format = "auto", field, raw;
  bool json = false;
};

// The live line, written over itself about ten times a second.
class LiveLine {
 public:
  void show(const TokenizeProgress& p) {
    const auto now = std::chrono::steady_clock::now();
    if (shown_ && now - last_ < std::chrono::milliseconds(100)) return;
    shown_ = true, last_ = now;
    const double seconds = std::chrono::duration<double>(now - begin_).count();
    const double rate = double(p.bytes_read - p.resumed_from) / std::max(seconds, 1e-3);
    clear_line();
    std::cerr << human_bytes(p.bytes_read);
    if (p.bytes_total > 0)
      std::cerr << " of " << human_bytes(p.bytes_total) << " (" << 100 * p.bytes_read / p.bytes_total
                << " %)";
    std::cerr << " | " << human_count(rate) << "B/s";
    if (p.bytes_total > 0 && rate > 0)
      std::cerr << " | eta " << human_duration(double(p.bytes_total - p.bytes_read) / rate);
    std::cerr << std::flush;
  }
  void clear() {
    if (shown_) clear_line();
  }

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now(), last_;
  bool shown_ = false;
};

// Notes printed besides the live line; of many, only the first few.
class Notes {
 public:
  explicit Notes(LiveLine& live) : live_(live) {}
  ~Notes() {
    if (n_ > kShown) std::cerr << "... and " << n_ - kShown << " more such lines\n";
  }
  void add(const std::string& text) {
    if (++n_ > kShown) return;
    live_.clear();
    std::cerr << text << "\n";
  }

 private:
  static constexpr int64_t kShown = 10;
  LiveLine& live_;
  int64_t n_ = 0;
};

TokenizeResult run_work(const TokenizeArguments& o, const TokenizeOptions& work) {
  if (o.raw.empty())
    return tokenize_files(*make_tokenizer(o.tokenizer.empty() ? "bytes" : o.tokenizer), work);
  const TokenType type = o.raw == "uint16" ? TokenType::u16 : TokenType::u32;
  if (!o.field.empty() || o.input_format != "auto")
    throw ConfigError("--raw reads token ids, so --field and --format do not apply; leave them out");
  if (o.tokenizer.empty()) return tokenize_raw(nullptr, type, work);
  return tokenize_raw(make_tokenizer(o.tokenizer).get(), type, work);
}

InputFormat input_format_of(const std::string& word) {
  if (word == "text") return InputFormat::text;
  if (word == "jsonl") return InputFormat::jsonl;
  return word == "bytes" ? InputFormat::bytes : InputFormat::automatic;
}

void print_text(const TokenizeResult& result) {
  const ShardInfo& info = result.info;
  if (result.info_path.empty()) {
    print(
        "%lld tokens in %zu shards, starting with %s; no tokenizer is recorded (--tokenizer records one and "
        "checks every token)\n",
        static_cast<long long>(info.tokens), info.files.size(), printable(info.files.front()).c_str());
    return;
  }
  print("%lld tokens of %lld documents (%s of text) in %zu shards: %s\n", static_cast<long long>(info.tokens),
        static_cast<long long>(info.documents), human_bytes(info.bytes).c_str(), info.files.size(),
        printable(result.info_path).c_str());
}

int tokenize(const TokenizeArguments& o) {
  TokenizeOptions work = o.work;
  if (!o.field.empty()) work.field = o.field;
  work.input_format = input_format_of(o.input_format);
  if (work.threads == 0) work.threads = omp_get_max_threads();
  if (o.dtype == "uint16") work.format = ShardFormat::llmc_u16;
  if (o.dtype == "uint32") work.format = ShardFormat::llmc_u32;
  LiveLine live;
  if (isatty(STDERR_FILENO) == 1) work.progress = [&live](const TokenizeProgress& p) { live.show(p); };

  TokenizeResult result;
  {
    Notes notes(live);
    work.note = [&notes](const std::string& text) { notes.add(text); };
    result = run_work(o, work);
    live.clear();
  }
  if (result.resumed_from > 0)
    std::cerr << "continued an interrupted run after " << human_bytes(result.resumed_from) << "\n";
  if (result.boundaries_in_text > 0)
    std::cerr << "warning: the text contains " << result.boundaries_in_text
              << " tokens that look like document boundaries (for bytes: NUL); they were kept\n";
  if (o.json) {
    std::cout << json_for_terminals(to_json(result.info));
  } else {
    print_text(result);
  }
  return kDone;
}

}  // namespace

void add_tokenize_command(CLI::App& app, RunCommand& run) {
  auto o = std::make_shared<TokenizeArguments>();
  CLI::App* sub = app.add_subcommand("tokenize",
                                     "Turn text into token shards\n\n"
                                     "The shards are OUT/PREFIX_000000.bin, ... in llm.c's form; "
                                     "OUT/PREFIX.json names the tokenizer. The same "
                                     "command continues one that was interrupted.");
  sub->group("Data");
  sub->add_option("--input", o->work.inputs,
                  "Text files (one document each), JSON lines (.jsonl) or parquet (one document per line or "
                  "row); folders of such files; glob patterns; - for standard input. Text and JSON lines may "
                  "be compressed with gzip, zstd or xz. Parquet needs a build with Arrow")
      ->type_name("FILE")
      ->required();
  sub->add_option("--out", o->work.out_dir, "Folder for the shards")->check(folder())->required();
  sub->add_option("--prefix", o->work.prefix, "Start of the shards' file names")->capture_default_str();
  sub->add_option("--tokenizer", o->tokenizer,
                  "bytes, a tokenizer.json, GPT-2's encoder.json or vocab.bpe, or a folder with one of them")
      ->type_name("FILE")
      ->default_str("bytes");
  sub->add_option("--field", o->field,
                  "Field of JSON lines, or column of parquet, that holds the text; a.b is b within a")
      ->type_name("NAME")
      ->default_str("text");
  sub->add_option(
         "--format", o->input_format,
         "Input format; auto decides by the name and the first bytes, bytes takes any bytes unchanged")
      ->check(CLI::IsMember({"auto", "text", "jsonl", "bytes"}))
      ->capture_default_str();
  sub->add_option("--raw", o->raw,
                  "The input is token ids of this type instead of text, like nanoGPT's train.bin; with "
                  "--tokenizer each id is checked")
      ->check(CLI::IsMember({"uint16", "uint32"}));
  sub->add_option("--separator", o->work.separator,
                  "Line that separates documents within a text file; '' for none")
      ->capture_default_str();
  sub->add_option("--shard-tokens", o->work.tokens_per_shard, "Tokens per shard")
      ->check(integer_in(1))
      ->capture_default_str();
  sub->add_option("--dtype", o->dtype,
                  "Type of the token ids in the shards; auto is the smaller one that fits")
      ->check(CLI::IsMember({"auto", "uint16", "uint32"}))
      ->capture_default_str();
  sub->add_option("--threads", o->work.threads,
                  "CPU threads; 0 for OMP_NUM_THREADS or all cores. The shards are the same for any number")
      ->check(integer_in(0, 1024))
      ->capture_default_str();
  add_json_flag(*sub, o->json);
  sub->footer(
      "Examples:\n"
      "  saslm tokenize --input book1.txt --out data/mine --prefix train\n"
      "  saslm tokenize --input book2.txt --out data/mine --prefix val\n"
      "  saslm tokenize --input 'books/*.txt' more.jsonl --tokenizer gpt2/ --out data/big\n"
      "\n"
      "See also: saslm help data\n");
  sub->callback([o, &run] { run = [o] { return tokenize(*o); }; });
}

}  // namespace saslm
