#include "data/tokenize_output.h"

#include <sys/stat.h>

#include <filesystem>

#include "core/error.h"
#include "core/file.h"

namespace saslm {

namespace {

namespace fs = std::filesystem;

void make_out_dir(const TokenizeOptions& options) {
  if (options.prefix.empty() || options.prefix.find('/') != std::string::npos)
    throw DataError("shard prefix \"" + options.prefix + "\": wanted a plain name without /");
  std::error_code failed;
  fs::create_directories(options.out_dir, failed);
  if (failed) throw IoError("create directory " + options.out_dir + ": " + failed.message());
}

// Without a journal, existing files with the prefix are not ours and must not be changed.
void check_output(const TokenizeOptions& options) {
  const std::string info = info_path_of(options.out_dir + "/" + options.prefix + "_000000.bin");
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator(options.out_dir, failed)) {
    std::string path = options.out_dir + "/" + entry.path().filename().string();
    const std::string found = path;
    if (path.ends_with(".tmp")) path.resize(path.size() - 4);
    if (path != info && info_path_of(path) != info) continue;
    throw DataError(found +
                    ": exists already and is not overwritten; remove the old output or choose another "
                    "directory or prefix");
  }
  if (failed) throw IoError("read directory " + options.out_dir + ": " + failed.message());
}

nlohmann::ordered_json look_at(const std::vector<std::string>& paths) {
  nlohmann::ordered_json inputs = nlohmann::ordered_json::array();
  for (const std::string& path : paths) {
    std::error_code unknown;
    struct stat status = {};
    const bool regular =
        path != kStandardInput && ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode);
    inputs.push_back({{"path", path == kStandardInput ? path : fs::weakly_canonical(path, unknown).string()},
                      {"bytes", regular ? int64_t(status.st_size) : -1},
                      {"changed_s", regular ? int64_t(status.st_mtim.tv_sec) : 0},
                      {"changed_ns", regular ? int64_t(status.st_mtim.tv_nsec) : 0}});
  }
  return inputs;
}

// The first input that has changed since `before`; "" if none has.
std::string changed_since(const nlohmann::ordered_json& before, const std::vector<std::string>& paths) {
  const nlohmann::ordered_json now = look_at(paths);
  for (size_t i = 0; i < paths.size(); ++i)
    if (now[i] != before[i]) return paths[i];
  return "";
}

}  // namespace

int64_t total_bytes(const std::vector<std::string>& inputs) {
  int64_t total = 0;
  std::error_code unknown;
  for (const std::string& path : inputs) {
    if (path == kStandardInput || !fs::is_regular_file(path, unknown)) return -1;
    total += int64_t(fs::file_size(path, unknown));
  }
  return total;
}

ShardFormat format_for(int64_t vocab_size, std::optional<ShardFormat> wanted) {
  const bool narrow = vocab_size <= 1 << 16;
  if (wanted == ShardFormat::llmc_u16 && !narrow)
    throw DataError("uint16 shards can store tokens up to 65535, but the vocabulary has " +
                    std::to_string(vocab_size) + "; leave out --dtype, or give --dtype uint32");
  return wanted.value_or(narrow ? ShardFormat::llmc_u16 : ShardFormat::llmc_u32);
}

TokenizeOutput::TokenizeOutput(const TokenizeOptions& options, ShardFormat format)
    : options_(options),
      format_(format),
      stem_(options.out_dir + "/" + options.prefix),
      writer_(options.out_dir, options.prefix, format, options.tokens_per_shard) {
  make_out_dir(options);
  if (!path_exists(stem_ + ".journal")) check_output(options);
  inputs_ = look_at(options.inputs);
}

TokenizeJournal TokenizeOutput::open_journal(
    const std::function<nlohmann::ordered_json(const nlohmann::ordered_json&)>& job_of) {
  const std::string job =
      job_of(inputs_).dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  return TokenizeJournal(stem_ + ".journal", job);
}

TokenizeState TokenizeOutput::finish(TokenizeJournal& journal, const std::function<TokenizeState()>& work) {
  try {
    const TokenizeState state = work();
    if (const std::string path = changed_since(inputs_, options_.inputs); !path.empty())
      throw ContentError(
          path + " changed while it was read, so no shards were made; give a file that nothing writes to");
    return state;
  } catch (const ContentError&) {
    writer_.discard();
    journal.remove();
    throw;
  }
}

void TokenizeOutput::publish(TokenizeJournal& journal, TokenizeResult& result) {
  result.info.files = writer_.finish();
  if (!result.info.tokenizer.empty()) {
    result.info_path = stem_ + ".json";
    atomic_write_file(result.info_path, to_json(result.info));
  }
  journal.remove();
}

}  // namespace saslm
