#include "data/tokenize_raw.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <vector>

#include "core/error.h"
#include "data/byte_source.h"
#include "data/find_inputs.h"
#include "data/input.h"
#include "data/sniff.h"
#include "data/tokenize_output.h"

namespace saslm {

namespace {

constexpr size_t kChunkTokens = 256 << 10;
constexpr int64_t kNoVocabulary = int64_t(1) << 24;  // larger than any vocabulary

const char* word_of(TokenType type) {
  return type == TokenType::u16 ? "uint16" : "uint32";
}

uint32_t id_at(std::string_view bytes, size_t i, int64_t width) {
  uint32_t id = 0;
  std::memcpy(&id, bytes.data() + i * size_t(width), size_t(width));
  return id;
}

std::string head_of(const std::string& path) {
  const File file = open_regular(path);
  std::string head(kSniffBytes, '\0');
  head.resize(size_t(file.read_some(std::as_writable_bytes(std::span(head)))));
  return head;
}

// Ids may start with any two bytes; only file types with longer signatures are refused.
void check_input(const std::string& path, TokenType type) {
  std::error_code unknown;
  if (path == kStandardInput || std::filesystem::is_directory(path, unknown))
    throw DataError(shown(path) + ": --raw wants files of token ids");
  const int64_t size = open_regular(path).size(), width = width_of(type);
  const std::string head = head_of(path);
  const Sniffed found = sniff(head);
  const bool text = found.content == Content::text && head.size() > 8;
  for (const char* other : {"gzip", "zstd", "xz", "a token shard", "a NumPy array", "a zip archive",
                            "a parquet file", "a safetensors file", "an Arrow"})
    if (text || found.what.starts_with(other))
      throw DataError(path + ": " + (text ? "text" : found.what) + ", not bare " + word_of(type) +
                      " token ids; " +
                      (text                   ? "leave out --raw to tokenize it"
                       : found.advice.empty() ? "decompress it first"
                                              : found.advice));
  if (size % width != 0)
    throw DataError(path + ": " + std::to_string(size) + " bytes are not a multiple of " + word_of(type) +
                    " ids of " + std::to_string(width) + " bytes; it is cut short or something else");
  if (type == TokenType::u16 && are_wide_ids(head))
    throw DataError(path + ": every second uint16 is 0, so these are uint32 ids: give --raw uint32");
}

class RawRun {
 public:
  RawRun(const Tokenizer* tokenizer, TokenType type, const TokenizeOptions& options, TokenizeJournal& journal,
         TokenizeOutput& output)
      : tokenizer_(tokenizer),
        type_(type),
        options_(options),
        journal_(journal),
        writer_(output.writer()),
        limit_(tokenizer != nullptr                       ? tokenizer->vocab_size()
               : output.format() == ShardFormat::llmc_u16 ? int64_t(1) << 16
                                                          : kNoVocabulary),
        boundary_(boundary_of(tokenizer)),
        state_(journal.state().value_or(TokenizeState())),
        progress_{.bytes_read = state_.bytes_read,
                  .bytes_total = total_bytes(options.inputs),
                  .resumed_from = state_.bytes_read} {}

  static std::optional<int64_t> boundary_of(const Tokenizer* tokenizer) {
    try {
      return tokenizer == nullptr ? std::nullopt : std::optional<int64_t>(tokenizer->boundary());
    } catch (const DataError&) {  // it has none: there is one document
      return std::nullopt;
    }
  }

  TokenizeState finish() {
    writer_.resume(state_.tokens);
    for (; state_.next.input < int64_t(options_.inputs.size()); ++state_.next.input, state_.next.offset = 0)
      read(options_.inputs[size_t(state_.next.input)]);
    if (state_.tokens == 0) throw ContentError(options_.inputs.front() + ": holds no tokens");
    record();
    return state_;
  }

 private:
  void read(const std::string& path) {
    const auto width = size_t(width_of(type_));
    File file = open_regular(path);
    file.seek(state_.next.offset);
    std::string bytes(kChunkTokens * width, '\0');
    while (true) {
      const size_t n = size_t(file.read_some(std::as_writable_bytes(std::span(bytes)))) / width;
      if (n == 0) return;
      take(path, bytes, n);
      state_.next.offset += int64_t(n * width);
      state_.bytes_read += int64_t(n * width);
      progress_.bytes_read = state_.bytes_read;
      using Seconds = std::chrono::duration<double>;
      if (Seconds(std::chrono::steady_clock::now() - recorded_).count() >= options_.journal_interval_s)
        record();
      if (options_.progress) options_.progress(progress_);
    }
  }

  void take(const std::string& path, std::string_view bytes, size_t n) {
    const int64_t width = width_of(type_);
    ids_.clear(), text_ids_.clear();
    for (size_t i = 0; i < n; ++i) {
      const int64_t id = id_at(bytes, i, width);
      if (id >= limit_) refuse(path, state_.next.offset / width + int64_t(i), id);
      ids_.push_back(int32_t(id));
      const bool text = id != boundary_;
      if (text && !state_.next.in_document) ++state_.documents;
      if (text) text_ids_.push_back(int32_t(id));
      state_.next.in_document = text;
    }
    if (tokenizer_ != nullptr) state_.bytes += int64_t(tokenizer_->decode(text_ids_).size());
    state_.tokens += int64_t(n);
    writer_.append(ids_);
  }

  [[noreturn]] void refuse(const std::string& path, int64_t at, int64_t id) const {
    const std::string where = path + ": token " + std::to_string(id) + " at offset " + std::to_string(at);
    if (tokenizer_ == nullptr && limit_ < kNoVocabulary)
      throw ContentError(where + " does not fit uint16 shards; leave out --dtype uint16");
    if (tokenizer_ == nullptr)
      throw ContentError(where + " is larger than any vocabulary; are these uint16 ids (--raw uint16)?");
    throw ContentError(where + " is outside the vocabulary 0 .. " + std::to_string(limit_ - 1) + " of " +
                       tokenizer_->name() +
                       "; give the tokenizer that made these ids, or check whether they are " +
                       (type_ == TokenType::u16 ? "uint32" : "uint16"));
  }

  void record() {
    recorded_ = std::chrono::steady_clock::now();
    writer_.sync();
    journal_.record(state_);
  }

  const Tokenizer* tokenizer_;
  TokenType type_;
  const TokenizeOptions& options_;
  TokenizeJournal& journal_;
  ShardWriter& writer_;
  int64_t limit_;
  std::optional<int64_t> boundary_;
  TokenizeState state_;
  TokenizeProgress progress_;
  std::vector<int32_t> ids_, text_ids_;  // of one chunk; text_ids_: without boundaries
  std::chrono::steady_clock::time_point recorded_ = std::chrono::steady_clock::now();
};

}  // namespace

TokenizeResult tokenize_raw(const Tokenizer* tokenizer, TokenType type, const TokenizeOptions& wanted) {
  check(type == TokenType::u16 || type == TokenType::u32, "bare tokens are uint16 or uint32");
  TokenizeOptions options = wanted;
  options.inputs = find_inputs(wanted.inputs, wanted.note);
  for (const std::string& path : options.inputs) check_input(path, type);
  const ShardFormat own = type == TokenType::u16 ? ShardFormat::llmc_u16 : ShardFormat::llmc_u32;
  const ShardFormat format = tokenizer != nullptr ? format_for(tokenizer->vocab_size(), options.format)
                                                  : options.format.value_or(own);
  TokenizeOutput output(options, format);
  TokenizeJournal journal = output.open_journal([&](const nlohmann::ordered_json& inputs) {
    nlohmann::ordered_json job = {
        {"raw", word_of(type)},
        {"tokenizer", tokenizer != nullptr ? tokenizer->name() : ""},
        {"tokenizer_fingerprint", tokenizer != nullptr ? tokenizer->fingerprint() : ""},
        {"tokens_per_shard", options.tokens_per_shard},
        {"format", name_of(output.format())},
        {"inputs", inputs}};
    return job;
  });

  TokenizeResult result;
  if (journal.state()) result.resumed_from = journal.state()->bytes_read;
  const TokenizeState state =
      output.finish(journal, [&] { return RawRun(tokenizer, type, options, journal, output).finish(); });
  result.info.tokens = state.tokens;
  if (tokenizer != nullptr)
    result.info = {.tokenizer = tokenizer->name(),
                   .vocab_size = tokenizer->vocab_size(),
                   .tokens = state.tokens,
                   .bytes = std::max<int64_t>(1, state.bytes),
                   .documents = state.documents,
                   .fingerprint = tokenizer->fingerprint(),
                   .boundary_token = RawRun::boundary_of(tokenizer)};
  output.publish(journal, result);
  return result;
}

}  // namespace saslm
