// Input: 'L' and an llm.c shard; or else a byte, two bytes with the size of a Megatron index, this index, and
// its tokens.
#include <algorithm>
#include <cstdint>

#include "core/error.h"
#include "data/shard_file.h"
#include "data/shard_writer.h"
#include "data/token_set.h"
#include "fuzz/target.h"

namespace saslm::fuzz {
namespace of_shard {

constexpr int64_t kVocab = 300, kSeqLen = 3;

void require_sound(const ShardFile& shard, int64_t file_bytes) {
  const int64_t n = shard.n_tokens(), header = shard.format() == ShardFormat::megatron ? 0 : 1024;
  require(header + n * width_of(shard.token_type()) == file_bytes, "a shard's tokens are all of its file");
  std::vector<int32_t> tokens(size_t(n), 7), again(size_t(n), 7);
  shard.read(0, n, tokens.data());
  shard.read(0, n / 2, again.data());
  shard.read(n / 2, n - n / 2, again.data() + n / 2);
  require(tokens == again, "tokens do not depend on how they are read");
  const ShardScan scan = shard.scan(kVocab);
  const auto bad = std::find_if(tokens.begin(), tokens.end(), [](int32_t t) { return t < 0 || t >= kVocab; });
  require(scan.bad_offset.has_value() == (bad != tokens.end()), "a scan sees whether tokens fit");
  if (scan.bad_offset)
    require(*scan.bad_offset == bad - tokens.begin(), "a scan names the first that does not");
  if (n > 0 && scan.min_token >= 0 && scan.max_token <= INT32_MAX) {
    const auto [low, high] = std::minmax_element(tokens.begin(), tokens.end());
    require(*low == scan.min_token && *high == scan.max_token, "a scan finds least and greatest");
  }
}

void require_sound(const TokenSet& set) {
  TokenBuffer memory(1, kSeqLen);
  const auto [inputs, targets] = memory.row(0);
  const auto fits = [](int32_t token) { return token >= 0 && token < kVocab; };
  for (int64_t sample = 0; sample < set.n_samples(); ++sample) {
    set.read(sample, {inputs, targets});
    require(std::all_of(inputs.data, inputs.data + kSeqLen, fits) &&
                std::all_of(targets.data, targets.data + kSeqLen, fits),
            "no token reaches a model that it does not know");
    require(std::equal(inputs.data + 1, inputs.data + kSeqLen, targets.data), "targets are the next inputs");
  }
}

bool run(std::string_view input) {
  static const Scratch scratch;
  std::string path;
  int64_t bytes = 0;
  if (take<char>(input) == 'L') {
    path = scratch.write("llmc.bin", input), bytes = int64_t(input.size());
  } else {
    const size_t claimed = take<uint16_t>(input), n_index = std::min(claimed, input.size());
    scratch.write("megatron.idx", input.substr(0, n_index));
    path = scratch.write("megatron.bin", input.substr(n_index));
    bytes = int64_t(input.size() - n_index);
  }
  const bool accepted = accepts<DataError>([&] { require_sound(ShardFile(path), bytes); });
  require(describe_shard(path).format.has_value() == accepted, "inspect agrees");
  const bool usable = accepts<DataError>([&] { require_sound(TokenSet({path}, kVocab, kSeqLen)); });
  require(accepted || !usable, "training takes no shard that is not one");
  return accepted;
}

std::string megatron(uint8_t type, const std::vector<int32_t>& lengths, const std::vector<int64_t>& firsts,
                     const std::string& tokens) {
  const auto n = uint64_t(lengths.size());
  const std::string index = std::string("MMIDIDX\0\0", 9) + raw<uint64_t>({1}) + char(type) +
                            raw<uint64_t>({n, 2}) + raw(lengths) + raw(firsts) +
                            raw<int64_t>({0, int64_t(n)});
  return "M" + raw<uint16_t>({uint16_t(index.size())}) + index + tokens;
}

std::vector<std::string> seeds() {
  const Scratch scratch;
  std::vector<std::string> all;
  for (const ShardFormat format : {ShardFormat::llmc_u16, ShardFormat::llmc_u32}) {
    ShardWriter writer(scratch / "", format == ShardFormat::llmc_u16 ? "u16" : "u32", format, 1000);
    writer.append(std::vector<int32_t>{1, 2, 299, 4, 5, 0, 7});
    all.push_back("L" + read_file(scratch / writer.finish().front()));
  }
  all.push_back(megatron(8, {2, 3}, {0, 4}, raw<uint16_t>({1, 2, 299, 0, 5})));
  all.push_back(megatron(4, {3, 0, 2}, {8, 0, 0}, raw<int32_t>({1, -2, 3, 4, 5})));
  all.push_back(megatron(1, {1, 1, 1, 1, 1}, {4, 3, 2, 1, 0}, raw<uint8_t>({9, 8, 7, 6, 5})));
  all.push_back(megatron(5, {1, 1}, {0, 8}, raw<int64_t>({1, int64_t(1) << 40})));
  return all;
}

}  // namespace of_shard

const Target kShard = {"shard", of_shard::run, of_shard::seeds, {std::string("MMIDIDX\0\0", 9)}};

}  // namespace saslm::fuzz
