#include "data/tokenize.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <future>
#include <mutex>
#include <nlohmann/json.hpp>
#include <span>
#include <thread>

#include "core/error.h"
#include "data/find_inputs.h"
#include "data/json_line.h"
#include "data/parquet.h"
#include "data/text_units.h"
#include "data/tokenize_journal.h"
#include "data/tokenize_output.h"

namespace saslm {

namespace {

struct EncodedUnit {
  TextUnit unit;
  std::vector<int32_t> ids;  // a boundary before every document
  size_t first_ids = 0;      // number of ids of the first part
  size_t reached = 0;        // position in the text that the last part reached
};

EncodedUnit encode(Encoder& encoder, TextUnit unit, int32_t boundary) {
  EncodedUnit encoded{.unit = std::move(unit)};
  for (const TextPart& part : encoded.unit.parts) {
    if (part.begins_document) encoded.ids.push_back(boundary);
    const auto text = std::string_view(encoded.unit.text).substr(part.begin, part.end - part.begin);
    encoded.reached = part.begin + encoder.encode(text, part.until - part.begin, part.open, encoded.ids);
    if (&part == &encoded.unit.parts.front()) encoded.first_ids = encoded.ids.size();
  }
  return encoded;
}

// Encodes units on several threads and returns them in order.
class EncoderPool {
 public:
  EncoderPool(const Tokenizer& tokenizer, size_t n_threads) : boundary_(tokenizer.boundary()) {
    for (size_t i = 0; i < n_threads; ++i) encoders_.push_back(tokenizer.make_encoder());
    for (const auto& encoder : encoders_)
      threads_.emplace_back([this, &encoder](const std::stop_token& stop) { work(*encoder, stop); });
  }

  size_t in_flight() const { return results_.size(); }

  void push(TextUnit unit) {
    Task task([unit = std::move(unit), boundary = boundary_](Encoder& encoder) mutable {
      return encode(encoder, std::move(unit), boundary);
    });
    results_.push_back(task.get_future());
    {
      const std::lock_guard lock(mutex_);
      tasks_.push_back(std::move(task));
    }
    changed_.notify_one();
  }

  EncodedUnit pop() {  // the oldest; rethrows exceptions of its encoding
    std::future<EncodedUnit> result = std::move(results_.front());
    results_.pop_front();
    return result.get();
  }

 private:
  using Task = std::packaged_task<EncodedUnit(Encoder&)>;

  void work(Encoder& encoder, const std::stop_token& stop) {
    while (true) {
      std::unique_lock lock(mutex_);
      if (!changed_.wait(lock, stop, [this] { return !tasks_.empty(); }) || stop.stop_requested()) return;
      Task task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task(encoder);
    }
  }

  int32_t boundary_;
  std::vector<std::unique_ptr<Encoder>> encoders_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<Task> tasks_;
  std::deque<std::future<EncodedUnit>> results_;  // used only by the calling thread
  std::vector<std::jthread> threads_;             // last member: they end before the data they use
};

// If a document continues in the next unit, the boundary was a guess. If encoding the first unit did not stop
// exactly there, the next part is encoded again from where it stopped. So the ids are those of the whole
// document, whatever the guesses were.
class Stitcher {
 public:
  explicit Stitcher(const Tokenizer& tokenizer) : encoder_(tokenizer.make_encoder()) {}

  bool even() const { return missing_.empty() && surplus_ == 0; }  // the last guess was right

  // Call with every unit in order; corrects its ids.
  void fit(EncodedUnit& encoded) {
    const std::vector<TextPart>& parts = encoded.unit.parts;
    const std::string& text = encoded.unit.text;
    const TextPart& first = parts.front();
    const TextPart& last = parts.back();
    if (even()) return note(text, last, encoded.reached);

    check(surplus_ <= first.until - first.begin, "looking ahead does not reach beyond the next unit");
    const size_t begin = first.begin + surplus_;
    const std::string joined = missing_ + text.substr(begin, first.end - begin);
    const TextPart part{
        .end = joined.size(), .until = missing_.size() + first.until - begin, .open = first.open};
    ids_.clear();
    const size_t reached = encoder_->encode(joined, part.until, part.open, ids_);
    encoded.ids.erase(encoded.ids.begin(), encoded.ids.begin() + std::ptrdiff_t(encoded.first_ids));
    encoded.ids.insert(encoded.ids.begin(), ids_.begin(), ids_.end());
    if (parts.size() == 1) {
      note(joined, part, reached);
    } else {
      note(text, last, encoded.reached);
    }
  }

 private:
  void note(const std::string& text, const TextPart& last, size_t reached) {
    missing_ = last.open && reached < last.until ? text.substr(reached, last.until - reached) : "";
    surplus_ = last.open && reached > last.until ? reached - last.until : 0;
  }

  std::unique_ptr<Encoder> encoder_;
  std::string missing_;  // text before the next unit that has no ids yet
  size_t surplus_ = 0;   // bytes of the next unit that already have ids
  std::vector<int32_t> ids_;
};

DocumentFormat document_format(const TokenizeOptions& options) {
  DocumentFormat format{.input = options.input_format, .separator = options.separator, .note = options.note};
  if (options.field) format.field = *options.field;
  return format;
}

// Opens all inputs that can be read twice, and checks their first bytes, before any work.
void check_inputs(const TokenizeOptions& options) {
  bool fields = false, pipes = false;
  if (options.field) field_keys(*options.field);
  for (const std::string& path : options.inputs) {
    std::error_code unknown;
    if (path == kStandardInput || std::filesystem::is_fifo(path, unknown)) {
      pipes = true;
    } else {
      const TextInput input(path, options.input_format);
      if (input.is_parquet()) open_parquet(path, document_format(options).field);
      fields |= input.is_jsonl() || input.is_parquet();
    }
  }
  if (options.field && !fields && !pipes)
    throw DataError("--field " + *options.field +
                    " applies to JSON lines and parquet, but no input is one of these (.jsonl, .ndjson, "
                    ".parquet); give --format jsonl if the input is JSON lines");
  if (pipes && options.note)
    options.note("standard input and pipes cannot be read twice: after an interruption, start again");
}

// Everything that the shards depend on.
nlohmann::ordered_json job_of(const Tokenizer& tokenizer, const TokenizeOptions& options, ShardFormat format,
                              const nlohmann::ordered_json& inputs) {
  nlohmann::ordered_json job = {
      {"tokenizer", tokenizer.name()},  {"tokenizer_fingerprint", tokenizer.fingerprint()},
      {"separator", options.separator}, {"tokens_per_shard", options.tokens_per_shard},
      {"format", name_of(format)},      {"inputs", inputs}};
  if (options.field) job["field"] = *options.field;
  if (options.input_format != InputFormat::automatic) job["input_format"] = int(options.input_format);
  return job;
}

// One run, from inputs to tokens in the writer.
class Run {
 public:
  Run(const Tokenizer& tokenizer, const TokenizeOptions& options, TokenizeJournal& journal,
      ShardWriter& writer)
      : tokenizer_(tokenizer),
        options_(options),
        journal_(journal),
        writer_(writer),
        boundary_(tokenizer.boundary()),
        stitcher_(tokenizer),
        state_(journal.state().value_or(TokenizeState())),
        progress_{.bytes_read = state_.bytes_read,
                  .bytes_total = total_bytes(options.inputs),
                  .resumed_from = state_.bytes_read} {}

  TokenizeState finish() {
    writer_.resume(state_.tokens);
    UnitReader reader(tokenizer_, options_.inputs, document_format(options_), state_.next);
    const size_t n_threads =
        options_.threads > 0 ? size_t(options_.threads) : std::max(1u, std::thread::hardware_concurrency());
    EncoderPool pool(tokenizer_, n_threads);
    while (true) {
      auto unit = pool.in_flight() < n_threads + 2 ? reader.next() : std::nullopt;
      if (unit) {
        pool.push(std::move(*unit));
      } else if (pool.in_flight() > 0) {
        take(pool.pop());
      } else {
        break;
      }
    }
    check(stitcher_.even(), "all text of the last document has ids");
    record();
    return state_;
  }

 private:
  void take(EncodedUnit encoded) {
    stitcher_.fit(encoded);
    std::span<const int32_t> ids = encoded.ids;
    if (state_.documents == 0) ids = ids.subspan(1);  // no boundary before the first
    state_.boundaries += std::count(ids.begin(), ids.end(), boundary_);
    state_.boundaries -= encoded.unit.documents() - (state_.documents == 0 ? 1 : 0);
    state_.documents += encoded.unit.documents();
    state_.tokens += int64_t(ids.size());
    state_.bytes += encoded.unit.bytes();
    state_.bytes_read = encoded.unit.bytes_read;
    state_.next = encoded.unit.next;
    writer_.append(ids);
    using Seconds = std::chrono::duration<double>;
    if (stitcher_.even() &&
        Seconds(std::chrono::steady_clock::now() - recorded_).count() >= options_.journal_interval_s)
      record();
    progress_.bytes_read = state_.bytes_read;
    if (options_.progress) options_.progress(progress_);
  }

  // A pipe cannot be read again.
  void record() {
    recorded_ = std::chrono::steady_clock::now();
    if (progress_.bytes_total < 0) return;
    writer_.sync();
    journal_.record(state_);
  }

  const Tokenizer& tokenizer_;
  const TokenizeOptions& options_;
  TokenizeJournal& journal_;
  ShardWriter& writer_;
  int32_t boundary_;
  Stitcher stitcher_;
  TokenizeState state_;
  TokenizeProgress progress_;
  std::chrono::steady_clock::time_point recorded_ = std::chrono::steady_clock::now();
};

}  // namespace

TokenizeResult tokenize_files(const Tokenizer& tokenizer, const TokenizeOptions& wanted) {
  const int32_t boundary = tokenizer.boundary();  // must exist
  TokenizeOptions options = wanted;
  options.inputs = find_inputs(wanted.inputs, wanted.note);
  check_inputs(options);
  TokenizeOutput output(options, format_for(tokenizer.vocab_size(), options.format));
  TokenizeJournal journal = output.open_journal([&](const nlohmann::ordered_json& inputs) {
    return job_of(tokenizer, options, output.format(), inputs);
  });

  TokenizeResult result;
  if (journal.state()) result.resumed_from = journal.state()->bytes_read;
  const TokenizeState state = output.finish(journal, [&] {
    TokenizeState done = Run(tokenizer, options, journal, output.writer()).finish();
    if (done.documents == 0)
      throw ContentError(shown(options.inputs.front()) +
                         (options.inputs.size() > 1 ? " and the other inputs hold" : ": holds") + " no text");
    return done;
  });
  result.boundaries_in_text = state.boundaries;
  result.info = {.tokenizer = tokenizer.name(),
                 .vocab_size = tokenizer.vocab_size(),
                 .tokens = state.tokens,
                 .bytes = state.bytes,
                 .documents = state.documents,
                 .fingerprint = tokenizer.fingerprint(),
                 .boundary_token = boundary};
  output.publish(journal, result);
  return result;
}

}  // namespace saslm
