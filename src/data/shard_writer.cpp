#include "data/shard_writer.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "core/error.h"

namespace saslm {

namespace {
constexpr size_t kWriteBytes = 1 << 20;
constexpr const char* kTemporary = ".tmp";
constexpr std::array<int32_t, 256> kNoHeader = {};

template <class Raw>
void append_as(std::vector<std::byte>& buffer, std::span<const int32_t> tokens) {
  const size_t before = buffer.size();
  buffer.resize(before + tokens.size() * sizeof(Raw));
  for (size_t i = 0; i < tokens.size(); ++i) {
    const Raw raw = Raw(tokens[i]);
    std::memcpy(&buffer[before + i * sizeof(Raw)], &raw, sizeof(Raw));
  }
}
}  // namespace

ShardWriter::ShardWriter(std::string dir, std::string prefix, ShardFormat format, int64_t tokens_per_shard)
    : dir_(std::move(dir)), prefix_(std::move(prefix)), format_(format), tokens_per_shard_(tokens_per_shard) {
  check(format != ShardFormat::megatron, "shards are written in an llm.c format");
  if (tokens_per_shard < 1 || tokens_per_shard > INT32_MAX) {
    throw DataError("tokens per shard: wanted 1 .. 2147483647 (the header counts in an int32), got " +
                    std::to_string(tokens_per_shard));
  }
}

void ShardWriter::resume(int64_t n_tokens) {
  check(names_.empty(), "a shard writer resumes before it writes");
  const auto fail = [&](const std::string& name) {
    throw DataError(dir_ + "/" + name + kTemporary +
                    ": written by an interrupted run, but now missing or cut short; remove the unfinished "
                    "output and start again");
  };
  std::error_code unknown;
  for (int64_t left = n_tokens; left > 0; left -= tokens_per_shard_) {
    const int64_t n = std::min(left, tokens_per_shard_);
    const std::string name = name_of_shard(names_.size()), path = dir_ + "/" + name;
    names_.push_back(name);
    // Only the last may be longer. It has its final name if finish() was interrupted.
    const std::string found = std::filesystem::exists(path + kTemporary, unknown) ? path + kTemporary : path;
    const uintmax_t size = std::filesystem::file_size(found, unknown);
    if (unknown || size < uintmax_t(bytes_of_shard(n))) fail(name);
    if (n == tokens_per_shard_ || found == path) continue;
    file_ = File(found, O_WRONLY);
    file_.truncate(bytes_of_shard(n));
    file_.seek(bytes_of_shard(n));
    in_shard_ = n;
  }
  for (size_t i = names_.size();
       std::filesystem::remove(dir_ + "/" + name_of_shard(i) + kTemporary, unknown);)
    ++i;
}

void ShardWriter::append(std::span<const int32_t> tokens) {
  const int64_t limit = format_ == ShardFormat::llmc_u16 ? 1 << 16 : int64_t(1) << 31;
  for (const int32_t token : tokens) {
    if (token >= 0 && token < limit) continue;
    throw DataError("token " + std::to_string(token) + " does not fit a shard of format " + name_of(format_));
  }
  while (!tokens.empty()) {
    if (in_shard_ == 0) open_shard();
    const size_t n = std::min({tokens.size(), size_t(tokens_per_shard_ - in_shard_), kWriteBytes / 4});
    if (format_ == ShardFormat::llmc_u16) {
      append_as<uint16_t>(buffer_, tokens.first(n));
    } else {
      append_as<uint32_t>(buffer_, tokens.first(n));
    }
    tokens = tokens.subspan(n);
    in_shard_ += int64_t(n);
    if (buffer_.size() >= kWriteBytes) flush();
    if (in_shard_ == tokens_per_shard_) close_shard();
  }
}

std::vector<std::string> ShardWriter::finish() {
  if (in_shard_ > 0) close_shard();
  for (const std::string& name : names_) {
    const std::string path = dir_ + "/" + name;
    std::error_code unknown;
    if (!std::filesystem::exists(path + kTemporary, unknown) && std::filesystem::exists(path, unknown))
      continue;  // resumed: an earlier finish() had renamed it
    if (std::filesystem::exists(path, unknown))
      throw DataError(path + ": exists already and is not overwritten");
    rename_path(path + kTemporary, path);
  }
  if (!names_.empty()) fsync_dir(dir_);
  return std::exchange(names_, {});
}

void ShardWriter::sync() {
  if (in_shard_ == 0) return;
  flush();
  file_.sync();
}

void ShardWriter::discard() {
  file_ = File();
  in_shard_ = 0;
  std::error_code ignored;
  for (const std::string& name : std::exchange(names_, {}))
    std::filesystem::remove(dir_ + "/" + name + kTemporary, ignored);
}

std::string ShardWriter::name_of_shard(size_t number) const {
  std::array<char, 32> text;
  std::snprintf(text.data(), text.size(), "_%06zu.bin", number);
  return prefix_ + text.data();
}

int64_t ShardWriter::bytes_of_shard(int64_t n_tokens) const {
  return int64_t(sizeof kNoHeader) + n_tokens * (format_ == ShardFormat::llmc_u16 ? 2 : 4);
}

void ShardWriter::open_shard() {
  const std::string name = name_of_shard(names_.size());
  file_ = File(dir_ + "/" + name + kTemporary, O_WRONLY | O_CREAT | O_EXCL);
  names_.push_back(name);
  fsync_dir(dir_);
  file_.write_all(std::as_bytes(std::span(kNoHeader)));
}

void ShardWriter::flush() {
  file_.write_all(std::as_bytes(std::span(buffer_)));
  buffer_.clear();
}

// Writes the header last, so that the temporary file does not look like a shard until then.
void ShardWriter::close_shard() {
  flush();
  std::array<int32_t, 256> header = kNoHeader;
  const bool narrow = format_ == ShardFormat::llmc_u16;
  header[0] = narrow ? 20240520 : 20240801;
  header[1] = narrow ? 1 : 7;
  header[2] = int32_t(in_shard_);
  file_.pwrite_all(std::as_bytes(std::span(header)), 0);
  file_.sync();
  file_ = File();
  in_shard_ = 0;
}

}  // namespace saslm
