#include "data/tokenize.h"

#include <filesystem>
#include <span>

#include "core/error.h"
#include "data/input.h"

namespace saslm {

namespace {

constexpr size_t kChunkBytes = 1 << 20;

// Receives documents piece by piece; encodes, counts, and puts boundaries between them.
class DocumentSink {
 public:
  DocumentSink(const Tokenizer& tokenizer, ShardWriter& writer, TokenizeResult& result)
      : tokenizer_(tokenizer), writer_(writer), result_(result) {}

  void add_text(std::string_view text) {
    if (text.empty()) return;
    if (!in_document_) begin_document();
    result_.info.bytes += int64_t(text.size());
    pending_ += text;
    encode(tokenizer_.complete_prefix(pending_));
  }

  void end_document() {
    encode(pending_.size());
    in_document_ = false;
  }

 private:
  void begin_document() {
    in_document_ = true;
    if (result_.info.documents++ == 0) return;
    const int32_t boundary = tokenizer_.boundary();
    writer_.append({&boundary, 1});
    ++result_.info.tokens;
  }

  void encode(size_t n_bytes) {
    ids_.clear();
    tokenizer_.encode(std::string_view(pending_).substr(0, n_bytes), ids_);
    pending_.erase(0, n_bytes);
    for (const int32_t id : ids_) result_.boundaries_in_text += id == tokenizer_.boundary();
    result_.info.tokens += int64_t(ids_.size());
    writer_.append(ids_);
  }

  const Tokenizer& tokenizer_;
  ShardWriter& writer_;
  TokenizeResult& result_;
  bool in_document_ = false;
  std::string pending_;  // text of this document that is not encoded yet
  std::vector<int32_t> ids_;
};

// Cuts one file's bytes into documents. A line is held back only while it may still be a separator.
class Splitter {
 public:
  Splitter(std::string_view separator, DocumentSink& sink) : separator_(separator), sink_(sink) {}

  void add(std::string_view chunk) {
    held_ += chunk;
    consume(false);
  }

  void finish() {
    consume(true);
    sink_.end_document();
  }

 private:
  void consume(bool at_end) {
    const std::string_view text = held_;
    size_t begin = 0, at = 0;  // of text not handed on yet, and of the line looked at
    while (at < text.size()) {
      const size_t newline = text.find('\n', at);
      const bool whole = newline != std::string_view::npos || at_end;
      const std::string_view line = text.substr(at, newline - at);  // npos - at is still past the end
      if (at_line_start_ && !whole && line.size() <= separator_.size() + 1) break;
      const size_t next = newline == std::string_view::npos ? text.size() : newline + 1;
      if (at_line_start_ && whole && is_separator(line)) {
        sink_.add_text(text.substr(begin, at - begin));
        sink_.end_document();
        begin = next;
      }
      at_line_start_ = newline != std::string_view::npos;
      at = next;
    }
    sink_.add_text(text.substr(begin, at - begin));
    held_.erase(0, at);
  }

  bool is_separator(std::string_view line) const {
    if (line.ends_with('\r')) line.remove_suffix(1);  // a file with CRLF line ends
    return !separator_.empty() && line == separator_;
  }

  std::string_view separator_;
  DocumentSink& sink_;
  bool at_line_start_ = true;
  std::string held_;
};

void check_inputs(const std::vector<std::string>& inputs) {
  if (inputs.empty()) throw DataError("no input: name at least one text file");
  for (const std::string& path : inputs) {
    std::error_code unknown;
    if (std::filesystem::is_fifo(path, unknown)) continue;  // opening it twice would lose what it holds
    open_stream(path);
  }
}

// A directory left over from a killed run shows here too, as .tmp files.
void check_output(const TokenizeOptions& options) {
  if (options.prefix.empty() || options.prefix.find('/') != std::string::npos) {
    throw DataError("shard prefix \"" + options.prefix + "\": wanted a plain name without /");
  }
  std::error_code failed;
  std::filesystem::create_directories(options.out_dir, failed);
  if (failed) throw IoError("create directory " + options.out_dir + ": " + failed.message());
  const std::string info = info_path_of(options.out_dir + "/" + options.prefix + "_000000.bin");
  for (const auto& entry : std::filesystem::directory_iterator(options.out_dir, failed)) {
    std::string path = options.out_dir + "/" + entry.path().filename().string();
    const std::string found = path;
    if (path.ends_with(".tmp")) path.resize(path.size() - 4);
    if (path != info && info_path_of(path) != info) continue;
    throw DataError(found +
                    ": exists already and nothing is overwritten; remove the old output or choose "
                    "another directory or prefix");
  }
  if (failed) throw IoError("read directory " + options.out_dir + ": " + failed.message());
}

ShardFormat narrowest_format(int64_t vocab_size) {
  return vocab_size <= 1 << 16 ? ShardFormat::llmc_u16 : ShardFormat::llmc_u32;
}

}  // namespace

TokenizeResult tokenize_files(const Tokenizer& tokenizer, const TokenizeOptions& options) {
  check_inputs(options.inputs);
  check_output(options);
  TokenizeResult result;
  result.info.tokenizer = tokenizer.name();
  result.info.vocab_size = tokenizer.vocab_size();
  ShardWriter writer(options.out_dir, options.prefix,
                     options.format.value_or(narrowest_format(tokenizer.vocab_size())),
                     options.tokens_per_shard);
  DocumentSink sink(tokenizer, writer, result);
  std::string chunk(kChunkBytes, '\0');
  int64_t bytes_read = 0;
  for (const std::string& path : options.inputs) {
    const File input = open_stream(path);
    Splitter splitter(options.separator, sink);
    while (const int64_t n = input.read_some(std::as_writable_bytes(std::span(chunk)))) {
      splitter.add(std::string_view(chunk).substr(0, size_t(n)));
      bytes_read += n;
      if (options.progress) options.progress(bytes_read);
    }
    splitter.finish();
  }
  if (result.info.documents == 0) {
    throw DataError(options.inputs.front() +
                    (options.inputs.size() > 1 ? " and the other inputs hold" : ": holds") + " no text");
  }
  result.info.files = writer.finish();
  result.info_path = options.out_dir + "/" + options.prefix + ".json";
  atomic_write_file(result.info_path, to_json(result.info));
  return result;
}

}  // namespace saslm
