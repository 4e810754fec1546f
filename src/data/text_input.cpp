#include "data/text_input.h"

#include <algorithm>
#include <array>
#include <filesystem>

#include "data/parquet.h"

namespace saslm {

namespace {

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

// The file name without the compression suffix.
std::string plain_name(std::string name) {
  for (const char* ending : {".gz", ".zst", ".zstd", ".xz"})
    if (name.ends_with(ending)) return name.substr(0, name.size() - std::string_view(ending).size());
  return name;
}

}  // namespace

TextInput::TextInput(std::string path, InputFormat format) : path_(std::move(path)) {
  OpenedSource source = open_source(path_, format == InputFormat::bytes);
  bytes_ = std::move(source.bytes);
  if (format == InputFormat::bytes) return;
  head_.resize(kSniffBytes);
  head_.resize(bytes_->read(head_));
  parquet_ = holds_parquet(format, source.compression);
  if (parquet_) return;
  refuse_what_is_no_text(source.compression);
  if (head_.starts_with(kByteOrderMark)) {
    head_.erase(0, kByteOrderMark.size());
    offset_ = int64_t(kByteOrderMark.size());
    remark("starts with a byte order mark, which was skipped");
  }
  jsonl_ = holds_json_lines(format);
}

void TextInput::refuse_what_is_no_text(const std::string& compression) const {
  const Sniffed found = sniff(head_);
  const std::string inside = compression.empty() ? "" : " inside " + compression;
  if (found.content == Content::text) return;
  if (found.content != Content::other)
    throw ContentError(shown(path_) + ": compressed twice (" + found.what + inside + "); decompress it once");
  throw ContentError(shown(path_) + ": " + found.what + inside +
                     "; wanted UTF-8 text: " + advice_for(found, compression));
}

std::string TextInput::advice_for(const Sniffed& found, const std::string& compression) const {
  const bool parquet = head_.starts_with(kParquetMagic);
  if (parquet && reads_parquet())
    return compression.empty() ? "without --format, one of its columns is read (--field)"
                               : "decompress it; then one of its columns is read (--field)";
  std::string advice = found.advice;
  if (const size_t at = advice.find("FILE");
      at != advice.npos && compression.empty() && path_ != kStandardInput)
    advice.replace(at, 4, found.what.find("UTF") == found.what.npos ? "\"" + path_ + "\"" : shown(path_));
  const std::string raw = path_.ends_with(".bin") ? raw_type_of(head_, int64_t(head_.size())) : "";
  if (!raw.empty() && found.what.find("UTF") != found.what.npos)
    advice += "; or, for token ids, --raw " + raw;
  if (parquet) advice += ". This build of saslm has no Arrow; one with Arrow reads parquet itself";
  return advice;
}

bool TextInput::holds_parquet(InputFormat format, const std::string& compression) const {
  if (format != InputFormat::automatic || !compression.empty()) return false;
  std::error_code unknown;
  if (!head_.starts_with(kParquetMagic)) {
    if (path_.ends_with(".parquet") && sniff(head_).content == Content::text)
      throw ContentError(path_ +
                         ": named .parquet, but it does not start like a parquet file; download it again, or "
                         "give --format text or jsonl if it is that");
    return false;
  }
  if (!reads_parquet()) return false;
  if (path_ == kStandardInput || !std::filesystem::is_regular_file(path_, unknown))
    throw ContentError(shown(path_) +
                       ": parquet is read from its end, which a pipe does not allow; give the file by name");
  return true;
}

bool TextInput::holds_json_lines(InputFormat format) {
  if (format != InputFormat::automatic) return format == InputFormat::jsonl;
  const std::string name = plain_name(path_);
  if (name.ends_with(".jsonl") || name.ends_with(".ndjson")) return true;
  const bool object = begins_with_json_object(head_);
  if (path_ == kStandardInput || name.ends_with(".json")) {
    if (object) remark("read as JSON lines, since its first line is JSON");
    const size_t first = head_.find_first_not_of(" \t\r\n");
    if (!object && name.ends_with(".json") && first != head_.npos &&
        (head_[first] == '[' || head_[first] == '{'))
      throw ContentError(path_ +
                         ": JSON, but not one object per line; convert it (jq -c '.[]' turns a list into "
                         "lines), or give --format text to read it unchanged");
    return object;
  }
  if (object)
    throw ContentError(shown(path_) +
                       ": its first line is a JSON object; give --format jsonl to read a field of every "
                       "line, or --format text to read the lines unchanged");
  return false;
}

void TextInput::remark(const std::string& what) {
  remark_ = remark_.empty() ? shown(path_) + ": " + what : remark_ + "; " + what;
}

size_t TextInput::read(std::span<char> out) {
  const size_t first = std::min(out.size(), head_.size());
  std::copy_n(head_.begin(), first, out.begin());
  head_.erase(0, first);
  const size_t n = first + (first < out.size() ? bytes_->read(out.subspan(first)) : 0);
  offset_ += int64_t(n);
  return n;
}

void TextInput::skip_to(int64_t offset) {
  const int64_t ahead = offset_ + int64_t(head_.size());  // where bytes_ stands
  if (offset >= ahead) {
    head_.clear();
    bytes_->skip(offset - ahead);
  } else {
    head_.erase(0, size_t(offset - offset_));
  }
  offset_ = offset;
}

}  // namespace saslm
