// Input: the PREFIX.json beside shards.
#include "core/error.h"
#include "data/shard_info.h"
#include "fuzz/target.h"

namespace saslm::fuzz {
namespace of_shard_info {

bool run(std::string_view input) {
  static const Scratch scratch;
  const std::string path = scratch.write("x.json", input);
  return accepts<DataError>([&] {
    const auto info = read_shard_info(path);
    require(info.has_value(), "a file that is there is read");
    for (const int64_t n : {info->vocab_size, info->tokens, info->bytes})
      require(n >= 1, "a text has bytes, tokens and a vocabulary");
    require(info->documents >= 0, "documents are not fewer than none");
    const auto again = read_shard_info(scratch.write("y.json", to_json(*info)));
    require(again && to_json(*again) == to_json(*info), "a description comes back");
  });
}

std::vector<std::string> seeds() {
  return {to_json(ShardInfo{"bytes", 256, 1000, 990, 3, {"x_000000.bin", "x_000001.bin"}, "bytes"}),
          to_json(ShardInfo{"/a/tokenizer.json", 50257, 7, 30, 1, {"x_000000.bin"}, ""})};
}

}  // namespace of_shard_info

const Target kShardInfo = {"shard_info", of_shard_info::run, of_shard_info::seeds};

}  // namespace saslm::fuzz
