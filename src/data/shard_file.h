// Token shards: files of token ids. data/README.md describes them byte by byte.
//
//   llmc_u16   llm.c / modded-nanogpt: 1024-byte header (20240520, 1, n_tokens), then uint16 tokens
//   llmc_u32   llm.c for Llama 3:      1024-byte header (20240801, 7, n_tokens), then uint32 tokens
//   megatron   Megatron-LM / GPT-NeoX: a .bin of bare tokens and an .idx ("MMIDIDX") beside it
//
// data/shard_writer.h writes the first two.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/open_files.h"

namespace saslm {

enum class ShardFormat { llmc_u16, llmc_u32, megatron };
enum class TokenType { u8, u16, u32, i32, i64 };

const char* name_of(ShardFormat format);
int64_t width_of(TokenType type);  // bytes per token

// Result of one pass over a shard's tokens.
struct ShardScan {
  int64_t min_token = 0, max_token = 0;  // both 0 without tokens
  std::optional<int64_t> bad_offset;     // of the first token outside 0 .. vocab_size-1, in tokens
  int64_t bad_token = 0;                 // its value
  std::array<uint64_t, 2> hash = {};     // xxh3-128 of the tokens' bytes in reading order
};

// One shard, open for reading. Thread-safe.
class ShardFile {
 public:
  // Checks the header, an entire .idx, and that the file size matches them exactly; does not read the tokens.
  // `path` is a .bin or a Megatron .idx; a .bin with an .idx beside it is read as Megatron. Throws DataError
  // with the problem, IoError if reading fails. Shards that share a pool are not all open at the same time.
  explicit ShardFile(const std::string& path,
                     std::shared_ptr<OpenFiles> pool = std::make_shared<OpenFiles>(1));

  const std::string& path() const { return tokens_.path(); }  // the file with the tokens
  std::pair<uint64_t, uint64_t> identity() const { return tokens_.identity(); }
  // Equal for two of one machine when they are one file, unchanged between, whose tokens are read alike: a
  // scan of either is one of both.
  std::string same_text() const;
  ShardFormat format() const { return format_; }
  TokenType token_type() const { return type_; }
  int64_t n_tokens() const { return n_tokens_; }

  // out[i] = token first + i; -1 if the stored value is negative or above 2^31 - 1. IoError if the file has
  // become shorter, or is another file.
  void read(int64_t first, int64_t count, int32_t* out) const;

  // One pass over all tokens in constant memory; above 1 GB/s if the disk is fast enough. `pause` is called
  // after every kScanPause tokens.
  static constexpr int64_t kScanPause = int64_t(1) << 30;
  ShardScan scan(int64_t vocab_size, const std::function<void()>& pause = {}) const;

  // The same for about `count` tokens, in evenly spread ranges that include the shard's first and last token;
  // the hash stays zero, and a token above 2^31 - 1 counts as -1.
  ShardScan scan_sample(int64_t vocab_size, int64_t count) const;

 private:
  // Consecutive tokens of the stream that are consecutive in the file. An llm.c shard, or a Megatron shard
  // with its index in file order, is a single run.
  struct Run {
    int64_t first_token, first_byte;
  };

  void open_llmc(const std::string& path, std::shared_ptr<OpenFiles> pool);
  void open_megatron(const std::string& idx_path, std::shared_ptr<OpenFiles> pool);
  void read_index(const File& idx, int64_t n_sequences);
  void check_tiling() const;
  void read_raw(int64_t first, int64_t count, void* out) const;

  PooledFile tokens_;
  ShardFormat format_ = ShardFormat::llmc_u16;
  TokenType type_ = TokenType::u16;
  int64_t n_tokens_ = 0;
  std::vector<Run> runs_;
};

// For `inspect`: never throws because of bad data.
struct ShardDescription {
  std::optional<ShardFormat> format;  // empty if the header or index is invalid
  int64_t n_tokens = 0;
  int64_t token_bytes = 0;  // per token
  int64_t min_token = 0, max_token = 0;
  std::string problem;  // empty: the shard is valid
};
ShardDescription describe_shard(const std::string& path);

}  // namespace saslm
