#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>

#include "app/command.h"
#include "app/options.h"
#include "data/tokenize.h"
#include "metrics/progress.h"

namespace saslm {
namespace {

struct Options {
  TokenizeOptions work;
  std::string tokenizer = "bytes", dtype = "auto";
  bool json = false;
};

int tokenize(const Options& o) {
  const auto tokenizer = make_tokenizer(o.tokenizer);
  TokenizeOptions work = o.work;
  if (o.dtype == "uint16") work.format = ShardFormat::llmc_u16;
  if (o.dtype == "uint32") work.format = ShardFormat::llmc_u32;
  const bool terminal = isatty(STDERR_FILENO) == 1;
  if (terminal)
    work.progress = [](int64_t bytes) { std::cerr << "\r" << human_bytes(bytes) << " read" << std::flush; };

  const TokenizeResult result = tokenize_files(*tokenizer, work);
  if (terminal) std::cerr << "\r\033[2K";
  if (result.boundaries_in_text > 0)
    std::cerr << "warning: the text itself holds " << result.boundaries_in_text
              << " tokens that read as document boundaries (for bytes: NUL); they were kept\n";
  if (o.json) {
    std::cout << to_json(result.info);
    return kDone;
  }
  std::printf("%lld tokens of %lld documents (%s of text) in %zu shards: %s\n",
              static_cast<long long>(result.info.tokens), static_cast<long long>(result.info.documents),
              human_bytes(result.info.bytes).c_str(), result.info.files.size(), result.info_path.c_str());
  return kDone;
}

}  // namespace

void add_tokenize_command(CLI::App& app, RunCommand& run) {
  auto o = std::make_shared<Options>();
  CLI::App* sub = app.add_subcommand("tokenize", "Turn text files into token shards");
  sub->add_option("--input", o->work.inputs, "Text files, each a document")->required();
  sub->add_option("--tokenizer", o->tokenizer, "bytes")->capture_default_str();
  sub->add_option("--out", o->work.out_dir, "Folder for the shards and their .json")
      ->check(folder())
      ->required();
  sub->add_option("--prefix", o->work.prefix, "Shards are OUT/PREFIX_000000.bin, ...")->capture_default_str();
  sub->add_option("--separator", o->work.separator, "A line of this text ends a document; '' = none does")
      ->capture_default_str();
  sub->add_option("--shard-tokens", o->work.tokens_per_shard, "Tokens per shard")
      ->check(integer_in(1))
      ->capture_default_str();
  sub->add_option("--dtype", o->dtype, "auto (the narrowest that fits), uint16 or uint32")
      ->check(CLI::IsMember({"auto", "uint16", "uint32"}));
  sub->add_flag("--json", o->json, "Print one JSON object");
  sub->callback([o, &run] { run = [o] { return tokenize(*o); }; });
}

}  // namespace saslm
