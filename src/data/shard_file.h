// Token shards: files of token ids. data/README.md draws them byte by byte.
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

// What one pass over every token of a shard finds.
struct ShardScan {
  int64_t min_token = 0, max_token = 0;  // 0, 0 without tokens
  std::optional<int64_t> bad_offset;     // of the first token outside 0 .. vocab_size-1, in tokens
  int64_t bad_token = 0;                 // its value
  std::array<uint64_t, 2> hash = {};     // xxh3-128 of the tokens' bytes in reading order
};

// One shard, open for reading from any thread.
class ShardFile {
 public:
  // Checks the header, all of an .idx, and that the size is exactly what they claim; the tokens are not
  // looked at. `path` is a .bin, or a Megatron .idx. A .bin with an .idx beside it is read as Megatron.
  // Throws DataError naming what is wrong; IoError when the machine fails. Shards that share a pool are not
  // all open at the same time.
  explicit ShardFile(const std::string& path,
                     std::shared_ptr<OpenFiles> pool = std::make_shared<OpenFiles>(1));

  const std::string& path() const { return tokens_.path(); }  // the file that holds the tokens
  std::pair<uint64_t, uint64_t> identity() const { return tokens_.identity(); }
  // Equal for two of one machine when they are one file, unchanged between, whose tokens are read alike: a
  // scan of either is one of both.
  std::string same_text() const;
  ShardFormat format() const { return format_; }
  TokenType token_type() const { return type_; }
  int64_t n_tokens() const { return n_tokens_; }

  // out[i] = token first + i; -1 where the stored value is negative or above 2^31 - 1.
  // IoError when the file no longer has them, or is another one.
  void read(int64_t first, int64_t count, int32_t* out) const;

  // One pass over the tokens in constant memory, faster than 1 GB/s where the disk is. `pause` is called on
  // the way, about once every so many tokens.
  static constexpr int64_t kScanPause = int64_t(1) << 30;
  ShardScan scan(int64_t vocab_size, const std::function<void()>& pause = {},
                 int64_t every = kScanPause) const;

  // The same of about `count` tokens, in stretches spread evenly, the first and the last of the shard among
  // them; the hash is left zero, and a token above 2^31 - 1 counts as -1.
  ShardScan scan_sample(int64_t vocab_size, int64_t count) const;

 private:
  // Neighbouring tokens of the stream that are neighbours in the file. An llm.c shard, and a Megatron one
  // whose index is in file order, is a single run.
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

// For `inspect`: never throws for what is wrong with the data.
struct ShardDescription {
  std::optional<ShardFormat> format;  // empty when the header or index already fails
  int64_t n_tokens = 0;
  int64_t token_bytes = 0;  // per token
  int64_t min_token = 0, max_token = 0;
  std::string problem;  // empty: the shard is whole
};
ShardDescription describe_shard(const std::string& path);

}  // namespace saslm
