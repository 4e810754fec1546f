#include "data/tokenize.h"

#include <sys/stat.h>

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
#include "data/input.h"
#include "data/text_units.h"
#include "data/tokenize_journal.h"

namespace saslm {

namespace {

namespace fs = std::filesystem;

struct EncodedUnit {
  TextUnit unit;
  std::vector<int32_t> ids;  // a boundary before every document
  size_t first_ids = 0;      // those of the first part
  size_t reached = 0;        // in the text, by the last part
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

// Encodes units on several threads and gives them back in order.
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

  EncodedUnit pop() {  // the oldest; what its encoding threw is thrown here
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
  std::deque<std::future<EncodedUnit>> results_;  // of the calling thread alone
  std::vector<std::jthread> threads_;             // last: they end before what they use
};

// Where a document goes on in the next unit, the place was a guess. If encoding the first did not stop
// exactly there, the piece that follows is encoded again, here, from where it did. So the ids are those of
// the document encoded as a whole, whatever the guesses were.
class Stitcher {
 public:
  explicit Stitcher(const Tokenizer& tokenizer) : encoder_(tokenizer.make_encoder()) {}

  bool even() const { return missing_.empty() && surplus_ == 0; }  // the last guess was right

  // Call with every unit, in order: its ids become right.
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
  size_t surplus_ = 0;   // bytes of the next unit that have some already
  std::vector<int32_t> ids_;
};

int64_t total_bytes(const std::vector<std::string>& inputs) {
  int64_t total = 0;
  std::error_code unknown;
  for (const std::string& path : inputs) {
    if (!fs::is_regular_file(path, unknown)) return -1;
    total += int64_t(fs::file_size(path, unknown));
  }
  return total;
}

void check_inputs(const std::vector<std::string>& inputs) {
  if (inputs.empty()) throw DataError("no input: name at least one text file");
  for (const std::string& path : inputs) {
    std::error_code unknown;
    if (fs::is_fifo(path, unknown)) continue;  // opening it twice would lose what it holds
    open_stream(path);
  }
}

void make_out_dir(const TokenizeOptions& options) {
  if (options.prefix.empty() || options.prefix.find('/') != std::string::npos)
    throw DataError("shard prefix \"" + options.prefix + "\": wanted a plain name without /");
  std::error_code failed;
  fs::create_directories(options.out_dir, failed);
  if (failed) throw IoError("create directory " + options.out_dir + ": " + failed.message());
}

// Without a journal, whatever has the prefix is not ours to touch.
void check_output(const TokenizeOptions& options) {
  const std::string info = info_path_of(options.out_dir + "/" + options.prefix + "_000000.bin");
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator(options.out_dir, failed)) {
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

ShardFormat format_for(const Tokenizer& tokenizer, std::optional<ShardFormat> wanted) {
  const bool narrow = tokenizer.vocab_size() <= 1 << 16;
  if (wanted == ShardFormat::llmc_u16 && !narrow)
    throw DataError("uint16 shards hold tokens up to 65535, but the vocabulary has " +
                    std::to_string(tokenizer.vocab_size()) + "; leave the format out, or ask for uint32");
  return wanted.value_or(narrow ? ShardFormat::llmc_u16 : ShardFormat::llmc_u32);
}

nlohmann::ordered_json look_at(const std::vector<std::string>& paths) {
  nlohmann::ordered_json inputs = nlohmann::ordered_json::array();
  for (const std::string& path : paths) {
    std::error_code unknown;
    struct stat status = {};
    const bool regular = ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode);
    inputs.push_back({{"path", fs::weakly_canonical(path, unknown).string()},
                      {"bytes", regular ? int64_t(status.st_size) : -1},
                      {"changed_s", regular ? int64_t(status.st_mtim.tv_sec) : 0},
                      {"changed_ns", regular ? int64_t(status.st_mtim.tv_nsec) : 0}});
  }
  return inputs;
}

// The first input that is no longer as it was when `before` was looked at; "" when all are.
std::string changed_since(const nlohmann::ordered_json& before, const std::vector<std::string>& paths) {
  const nlohmann::ordered_json now = look_at(paths);
  for (size_t i = 0; i < paths.size(); ++i)
    if (now[i] != before[i]) return paths[i];
  return "";
}

// All that the shards depend on, one line.
std::string job_of(const Tokenizer& tokenizer, const TokenizeOptions& options, ShardFormat format,
                   const nlohmann::ordered_json& inputs) {
  const nlohmann::ordered_json job = {
      {"tokenizer", tokenizer.name()},  {"tokenizer_fingerprint", tokenizer.fingerprint()},
      {"separator", options.separator}, {"tokens_per_shard", options.tokens_per_shard},
      {"format", name_of(format)},      {"inputs", inputs}};
  return job.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

// One run: from the inputs to tokens in the writer.
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
    UnitReader reader(tokenizer_, options_.inputs, options_.separator, state_.next, state_.bytes_read);
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

  // A pipe cannot be gone back in.
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

TokenizeResult tokenize_files(const Tokenizer& tokenizer, const TokenizeOptions& options) {
  tokenizer.boundary();  // must exist
  const ShardFormat format = format_for(tokenizer, options.format);
  ShardWriter writer(options.out_dir, options.prefix, format, options.tokens_per_shard);
  check_inputs(options.inputs);
  make_out_dir(options);
  const std::string stem = options.out_dir + "/" + options.prefix;
  if (!path_exists(stem + ".journal")) check_output(options);
  const nlohmann::ordered_json inputs = look_at(options.inputs);
  TokenizeJournal journal(stem + ".journal", job_of(tokenizer, options, format, inputs));

  TokenizeResult result;
  if (journal.state()) result.resumed_from = journal.state()->bytes_read;
  const TokenizeState state = Run(tokenizer, options, journal, writer).finish();
  const auto refuse = [&](const std::string& why) {
    writer.discard();
    journal.remove();
    throw DataError(why);
  };
  if (const std::string path = changed_since(inputs, options.inputs); !path.empty())
    refuse(path + " changed while it was read, so no shards were made; give a file that nobody writes");
  if (state.documents == 0)
    refuse(options.inputs.front() + (options.inputs.size() > 1 ? " and the other inputs hold" : ": holds") +
           " no text");
  result.boundaries_in_text = state.boundaries;
  result.info = {.tokenizer = tokenizer.name(),
                 .vocab_size = tokenizer.vocab_size(),
                 .tokens = state.tokens,
                 .bytes = state.bytes,
                 .documents = state.documents,
                 .files = writer.finish(),
                 .fingerprint = tokenizer.fingerprint()};
  result.info_path = stem + ".json";
  atomic_write_file(result.info_path, to_json(result.info));
  journal.remove();
  return result;
}

}  // namespace saslm
