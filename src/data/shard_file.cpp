#include "data/shard_file.h"

#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <climits>
#include <cstring>
#include <filesystem>
#include <limits>
#include <new>
#include <span>

#include "core/error.h"
#include "data/input.h"
#include "data/sniff.h"

namespace saslm {

static_assert(std::endian::native == std::endian::little, "shards are little-endian and read as they lie");

namespace {

constexpr int64_t kLlmcHeaderBytes = 256 * 4;
constexpr std::string_view kIndexMagic("MMIDIDX\0\0", 9);
constexpr int64_t kIndexHeaderBytes = 9 + 8 + 1 + 8 + 8;

// Calls fn with a zero of the C++ type that stores `type`.
template <class Fn>
void with_type(TokenType type, Fn fn) {
  switch (type) {
    case TokenType::u8:
      return fn(uint8_t{});
    case TokenType::u16:
      return fn(uint16_t{});
    case TokenType::u32:
      return fn(uint32_t{});
    case TokenType::i32:
      return fn(int32_t{});
    case TokenType::i64:
      return fn(int64_t{});
  }
}

std::string size_mismatch(const std::string& path, int64_t wanted, int64_t got, const std::string& claim) {
  return path + ": " + claim + " makes " + std::to_string(wanted) + " bytes, but the file has " +
         std::to_string(got) + "; it is " + (got < wanted ? "cut short" : "too long") +
         ": download or write it again";
}

std::string sibling_index(const std::string& path) {
  return std::filesystem::path(path).replace_extension(".idx");
}

bool is_megatron(const std::string& path) {
  std::error_code unknown;
  return path.ends_with(".idx") ||
         (path.ends_with(".bin") && std::filesystem::exists(sibling_index(path), unknown));
}

TokenType megatron_type(uint8_t code, const std::string& path) {
  switch (code) {
    case 1:
      return TokenType::u8;
    case 4:
      return TokenType::i32;
    case 5:
      return TokenType::i64;
    case 8:
      return TokenType::u16;
    default:
      throw DataError(path + ": token type code " + std::to_string(code) +
                      " is not supported; wanted 1 (uint8), 4 (int32), 5 (int64) or 8 (uint16)");
  }
}

// For messages: what a file that is not a shard seems to be, and how to make shards from it.
std::string what_it_is(const PooledFile& file) {
  if (file.size() == 0) return "; it is empty";
  std::string head(size_t(std::min<int64_t>(file.size(), kSniffBytes)), '\0');
  file.pread_all(std::as_writable_bytes(std::span(head)), 0);
  const std::string make = "`saslm tokenize --input " + file.path();
  if (const std::string type = raw_type_of(head, file.size()); !type.empty())
    return "; if it contains bare " + type + " token ids, as nanoGPT's train.bin does, " + make + " --raw " +
           type + " --out DIR` makes shards of it (with --tokenizer, checked)";
  const Sniffed found = sniff(head);
  if (found.content != Content::other)
    return "; it is " + (found.what.empty() ? "text" : "compressed by " + found.what) + ": " + make +
           " --out DIR` makes shards of text";
  return "; it is " + found.what +
         ". `saslm tokenize` makes shards from text, and from bare token ids (--raw)";
}

template <class Value>
Value value_at(const char* bytes) {
  Value value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

}  // namespace

const char* name_of(ShardFormat format) {
  switch (format) {
    case ShardFormat::llmc_u16:
      return "llm.c uint16";
    case ShardFormat::llmc_u32:
      return "llm.c uint32";
    case ShardFormat::megatron:
      return "Megatron";
  }
  return "";
}

int64_t width_of(TokenType type) {
  int64_t width = 0;
  with_type(type, [&](auto zero) { width = sizeof zero; });
  return width;
}

ShardFile::ShardFile(const std::string& path, std::shared_ptr<OpenFiles> pool) {
  if (is_megatron(path)) {
    open_megatron(sibling_index(path), std::move(pool));
  } else {
    open_llmc(path, std::move(pool));
  }
}

void ShardFile::open_llmc(const std::string& path, std::shared_ptr<OpenFiles> pool) {
  tokens_ = PooledFile(std::move(pool), open_regular(path));
  const int64_t size = tokens_.size();
  if (size < kLlmcHeaderBytes) {
    throw DataError(path + ": " + std::to_string(size) + " bytes are fewer than a token shard's header of " +
                    std::to_string(kLlmcHeaderBytes) + what_it_is(tokens_));
  }
  std::array<int32_t, 3> header;
  tokens_.pread_all(std::as_writable_bytes(std::span(header)), 0);
  const auto [magic, version, n_tokens] = header;
  if (magic == 20240520 && version == 1) {
    format_ = ShardFormat::llmc_u16, type_ = TokenType::u16;
  } else if (magic == 20240801 && version == 7) {
    format_ = ShardFormat::llmc_u32, type_ = TokenType::u32;
  } else {
    throw DataError(path + ": not a token shard: magic " + std::to_string(magic) + " version " +
                    std::to_string(version) + ", wanted 20240520 version 1 (uint16) or 20240801 version 7 " +
                    "(uint32), or a Megatron .bin with its .idx beside it" + what_it_is(tokens_));
  }
  const std::string claim = "n_tokens " + std::to_string(n_tokens);
  if (n_tokens < 0) {
    throw DataError(path + ": the header claims " + claim + "; it is damaged, or its writer overflowed: " +
                    "write shards of at most 2147483647 tokens");
  }
  n_tokens_ = n_tokens;
  runs_ = {{0, kLlmcHeaderBytes}};
  const int64_t wanted = kLlmcHeaderBytes + n_tokens_ * width_of(type_);
  if (size != wanted) throw DataError(size_mismatch(path, wanted, size, "a header with " + claim));
}

void ShardFile::open_megatron(const std::string& idx_path, std::shared_ptr<OpenFiles> pool) {
  format_ = ShardFormat::megatron;
  const File idx = open_regular(idx_path);
  tokens_ =
      PooledFile(std::move(pool), open_regular(std::filesystem::path(idx_path).replace_extension(".bin")));
  const int64_t size = idx.size();
  std::array<char, kIndexHeaderBytes> header = {};
  idx.pread_all(std::as_writable_bytes(std::span(header)).first(size_t(std::min(size, kIndexHeaderBytes))),
                0);
  if (size < kIndexHeaderBytes || std::string_view(header.data(), 9) != kIndexMagic) {
    throw DataError(
        idx_path + ": does not start with a whole MMIDIDX header; it lies beside " + path() +
        ", which is therefore read as a Megatron shard; write it again, or move it away if it is unrelated");
  }
  const auto version = value_at<uint64_t>(&header[9]);
  if (version != 1) throw DataError(idx_path + ": version " + std::to_string(version) + ", wanted 1");
  type_ = megatron_type(uint8_t(header[17]), idx_path);
  const auto n_sequences = value_at<uint64_t>(&header[18]), n_documents = value_at<uint64_t>(&header[26]);
  const std::string claim = "a header with " + std::to_string(n_sequences) + " sequences and " +
                            std::to_string(n_documents) + " document marks";
  if (n_sequences > uint64_t(size) / 12 || n_documents > uint64_t(size) / 8) {  // also keeps the sum in range
    throw DataError(idx_path + ": " + claim + " cannot fit in " + std::to_string(size) + " bytes");
  }
  const int64_t wanted = kIndexHeaderBytes + int64_t(n_sequences) * 12 + int64_t(n_documents) * 8;
  if (size != wanted) throw DataError(size_mismatch(idx_path, wanted, size, claim));
  read_index(idx, int64_t(n_sequences));
  check_tiling();
}

// Fills runs_ and n_tokens_ from the two parallel arrays int32 length[n], int64 first_byte[n].
void ShardFile::read_index(const File& idx, int64_t n_sequences) {
  const int64_t chunk = std::min<int64_t>(8192, n_sequences);
  std::vector<int32_t> lengths(static_cast<size_t>(chunk));
  std::vector<int64_t> first_bytes(static_cast<size_t>(chunk));
  const int64_t width = width_of(type_), size = tokens_.size();
  int64_t next_byte = -1;  // where the current run continues
  for (int64_t at = 0; at < n_sequences; at += chunk) {
    const int64_t n = std::min(chunk, n_sequences - at);
    idx.pread_all(std::as_writable_bytes(std::span(lengths).first(size_t(n))), kIndexHeaderBytes + at * 4);
    idx.pread_all(std::as_writable_bytes(std::span(first_bytes).first(size_t(n))),
                  kIndexHeaderBytes + n_sequences * 4 + at * 8);
    for (int64_t i = 0; i < n; ++i) {
      const int64_t length = lengths[i], first = first_bytes[i], n_bytes = length * width;
      if (length < 0 || first < 0 || n_bytes > size || first > size - n_bytes) {
        throw DataError(idx.path() + ": sequence " + std::to_string(at + i) + " claims " +
                        std::to_string(length) + " tokens from byte " + std::to_string(first) + ", outside " +
                        path() + " of " + std::to_string(size) +
                        " bytes; the pair does not belong together or is damaged");
      }
      if (length == 0) continue;
      if (first != next_byte) runs_.push_back({n_tokens_, first});
      next_byte = first + n_bytes;
      n_tokens_ += length;
      if (n_tokens_ > size / width) return;  // more than in the file: check_tiling reports it
    }
  }
}

// Every byte of the .bin belongs to exactly one sequence; anything else is damage.
void ShardFile::check_tiling() const {
  const int64_t width = width_of(type_), size = tokens_.size();
  if (n_tokens_ * width != size) {
    throw DataError(size_mismatch(path(), n_tokens_ * width, size,
                                  "an index of " + std::to_string(n_tokens_) + " tokens (or more)"));
  }
  std::vector<std::pair<int64_t, int64_t>> extents;  // first byte, number of bytes
  for (size_t r = 0; r < runs_.size(); ++r) {
    const int64_t end = r + 1 < runs_.size() ? runs_[r + 1].first_token : n_tokens_;
    extents.push_back({runs_[r].first_byte, (end - runs_[r].first_token) * width});
  }
  std::sort(extents.begin(), extents.end());
  int64_t covered = 0;
  for (const auto& [first, n_bytes] : extents) {
    if (first != covered) {
      throw DataError(path() + ": the sequences of its index " +
                      (first < covered ? "overlap" : "leave a gap") + " at byte " +
                      std::to_string(std::min(first, covered)) + "; the index is damaged");
    }
    covered += n_bytes;
  }
}

void ShardFile::read_raw(int64_t first, int64_t count, void* out) const {
  check(first >= 0 && count >= 0 && count <= n_tokens_ - first, "tokens are read from within their shard");
  const int64_t width = width_of(type_);
  std::byte* to = static_cast<std::byte*>(out);
  auto next = std::upper_bound(runs_.begin(), runs_.end(), first,
                               [](int64_t token, const Run& run) { return token < run.first_token; });
  for (; count > 0; ++next) {
    const Run& run = *std::prev(next);
    const int64_t run_end = next == runs_.end() ? n_tokens_ : next->first_token;
    const int64_t n = std::min(count, run_end - first);
    tokens_.pread_all({to, size_t(n * width)}, run.first_byte + (first - run.first_token) * width);
    first += n, count -= n, to += n * width;
  }
}

void ShardFile::read(int64_t first, int64_t count, int32_t* out) const {
  with_type(type_, [&]<class Raw>(Raw) {
    constexpr int64_t kChunk = 2048;
    std::array<Raw, kChunk> raw;
    while (count > 0) {
      const int64_t n = std::min(count, kChunk);
      read_raw(first, n, raw.data());
      for (int64_t i = 0; i < n; ++i) {
        const int64_t token = raw[i];
        out[i] = token >= 0 && token <= INT32_MAX ? int32_t(token) : -1;
      }
      first += n, count -= n, out += n;
    }
  });
}

std::string ShardFile::same_text() const {
  const auto [device, inode] = identity();
  std::string text;
  for (const uint64_t part : {device, inode, uint64_t(tokens_.size()), uint64_t(tokens_.changed_ns()),
                              uint64_t(type_), uint64_t(n_tokens_)})
    text += std::to_string(part) + " ";
  return text + std::to_string(XXH3_64bits(runs_.data(), runs_.size() * sizeof runs_[0]));
}

ShardScan ShardFile::scan(int64_t vocab_size, const std::function<void()>& pause) const {
  ShardScan found;
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> hash(XXH3_createState(), &XXH3_freeState);
  if (!hash) throw std::bad_alloc();
  check(XXH3_128bits_reset(hash.get()) == XXH_OK, "xxh3 starts");
  with_type(type_, [&]<class Raw>(Raw) {
    constexpr int64_t kChunk = (256 << 10) / sizeof(Raw);  // stays in the second-level cache
    std::vector<Raw> raw(size_t(std::min(kChunk, n_tokens_)));
    Raw low = std::numeric_limits<Raw>::max(), high = std::numeric_limits<Raw>::min();
    for (int64_t at = 0; at < n_tokens_; at += kChunk) {
      const int64_t n = std::min(kChunk, n_tokens_ - at);
      read_raw(at, n, raw.data());
      XXH3_128bits_update(hash.get(), raw.data(), size_t(n) * sizeof(Raw));
      if (pause && at / kScanPause != (at + n) / kScanPause) pause();
      for (int64_t i = 0; i < n; ++i) {
        low = std::min(low, raw[i]);
        high = std::max(high, raw[i]);
      }
      if (found.bad_offset || (int64_t(low) >= 0 && int64_t(high) < vocab_size)) continue;
      const auto bad = std::find_if(raw.begin(), raw.begin() + n, [&](Raw token) {
        return int64_t(token) < 0 || int64_t(token) >= vocab_size;
      });
      found.bad_offset = at + (bad - raw.begin());
      found.bad_token = int64_t(*bad);
    }
    if (n_tokens_ > 0) found.min_token = int64_t(low), found.max_token = int64_t(high);
  });
  const XXH128_hash_t digest = XXH3_128bits_digest(hash.get());
  found.hash = {digest.low64, digest.high64};
  return found;
}

ShardScan ShardFile::scan_sample(int64_t vocab_size, int64_t count) const {
  constexpr int64_t kStretch = 1 << 14;
  ShardScan scan;
  if (n_tokens_ == 0) return scan;
  const int64_t length = std::min(kStretch, n_tokens_), last = n_tokens_ - length;
  const int64_t stretches = last == 0 ? 1 : std::max<int64_t>(2, count / kStretch);
  std::vector<int32_t> tokens(static_cast<size_t>(length));
  scan.min_token = std::numeric_limits<int64_t>::max(), scan.max_token = std::numeric_limits<int64_t>::min();
  for (int64_t i = 0; i < stretches; ++i) {
    const int64_t first = stretches == 1 ? 0 : int64_t(double(last) * double(i) / double(stretches - 1));
    read(first, length, tokens.data());
    for (int64_t t = 0; t < length; ++t) {
      const int64_t token = tokens[size_t(t)];
      scan.min_token = std::min(scan.min_token, token), scan.max_token = std::max(scan.max_token, token);
      if ((token < 0 || token >= vocab_size) && !scan.bad_offset)
        scan.bad_offset = first + t, scan.bad_token = token;
    }
  }
  return scan;
}

ShardDescription describe_shard(const std::string& path) {
  ShardDescription what;
  try {
    const ShardFile shard(path);
    what.format = shard.format();
    what.n_tokens = shard.n_tokens();
    what.token_bytes = width_of(shard.token_type());
    const ShardScan scan = shard.scan(int64_t(1) << 31);
    what.min_token = scan.min_token, what.max_token = scan.max_token;
    if (scan.bad_offset) {
      what.problem = path + ": token " + std::to_string(scan.bad_token) + " at offset " +
                     std::to_string(*scan.bad_offset) + " is outside 0 .. 2147483647";
    }
  } catch (const DataError& error) {
    what.problem = error.what();
  }
  return what;
}

}  // namespace saslm
