#include "data/shard_info.h"

#include <cctype>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <span>

#include "core/error.h"
#include "data/input.h"

namespace saslm {

namespace {
constexpr int64_t kMaxBytes = 64 << 20;  // room for a million shard names
}

std::string to_json(const ShardInfo& info) {
  nlohmann::ordered_json node = {{"tokenizer", info.tokenizer}, {"vocab_size", info.vocab_size},
                                 {"tokens", info.tokens},       {"bytes", info.bytes},
                                 {"documents", info.documents}, {"files", info.files}};
  if (info.boundary_token) node["boundary_token"] = *info.boundary_token;
  if (!info.fingerprint.empty()) node["tokenizer_fingerprint"] = info.fingerprint;
  return node.dump(2) + "\n";
}

bool same_tokenizer(const std::string& name, const std::string& fingerprint, const std::string& other_name,
                    const std::string& other_fingerprint) {
  return fingerprint.empty() || other_fingerprint.empty() ? name == other_name
                                                          : fingerprint == other_fingerprint;
}

namespace {
// DIR/PREFIX of DIR/PREFIX_NNNNNN.bin; else empty.
std::string stem_of(const std::string& shard_path) {
  constexpr std::string_view kExtension = ".bin";
  if (!shard_path.ends_with(kExtension)) return "";
  const std::string stem = shard_path.substr(0, shard_path.size() - kExtension.size());
  size_t digits = 0;
  while (digits < stem.size() && std::isdigit(uint8_t(stem[stem.size() - 1 - digits]))) ++digits;
  if (digits < 6 || digits == stem.size() || stem[stem.size() - 1 - digits] != '_') return "";
  return stem.substr(0, stem.size() - 1 - digits);
}
}  // namespace

std::string info_path_of(const std::string& shard_path) {
  const std::string stem = stem_of(shard_path);
  return stem.empty() ? "" : stem + ".json";
}

std::string journal_path_of(const std::string& shard_path) {
  const std::string stem = stem_of(shard_path);
  return stem.empty() ? "" : stem + ".journal";
}

std::optional<ShardInfo> read_shard_info(const std::string& path) {
  std::error_code unknown;
  if (!std::filesystem::exists(path, unknown)) return std::nullopt;
  const File file = open_regular(path);
  const std::string advice = "; restore it if `saslm tokenize` wrote it, else move it away";
  if (file.size() > kMaxBytes) throw DataError(path + ": too large to describe shards" + advice);
  std::string text(size_t(file.size()), '\0');
  file.pread_all(std::as_writable_bytes(std::span(text)), 0);
  ShardInfo info;
  const auto read_count = [&](const nlohmann::json& node, const char* key, int64_t& value) {
    const nlohmann::json& number = node.at(key);
    if (!number.is_number_unsigned() ||
        number.get<uint64_t>() > uint64_t(std::numeric_limits<int64_t>::max()))
      throw DataError(path + ": wanted " + key + " as an integer, 0 .. 2^63-1, got " +
                      (number.is_number() ? number.dump() : number.type_name()) + advice);
    number.get_to(value);
  };
  if (text.find('\0') != text.npos) throw DataError(path + ": holds a zero byte" + advice);
  try {
    const nlohmann::json node = nlohmann::json::parse(text);
    node.at("tokenizer").get_to(info.tokenizer);
    read_count(node, "vocab_size", info.vocab_size);
    read_count(node, "tokens", info.tokens);
    read_count(node, "bytes", info.bytes);
    read_count(node, "documents", info.documents);
    node.at("files").get_to(info.files);
    info.fingerprint = node.value("tokenizer_fingerprint", "");
    if (node.contains("boundary_token")) read_count(node, "boundary_token", info.boundary_token.emplace());
  } catch (const nlohmann::json::exception& error) {
    throw DataError(path + ": not a description of shards: " + error.what() + advice);
  }
  if (info.vocab_size < 1 || info.tokens < 1 || info.bytes < 1) {
    throw DataError(path + ": vocab_size, tokens and bytes must be positive, got " +
                    std::to_string(info.vocab_size) + ", " + std::to_string(info.tokens) + " and " +
                    std::to_string(info.bytes) + advice);
  }
  if (info.boundary_token && *info.boundary_token >= info.vocab_size)
    throw DataError(path + ": boundary_token " + std::to_string(*info.boundary_token) +
                    " is outside its vocabulary of " + std::to_string(info.vocab_size) + advice);
  return info;
}

}  // namespace saslm
