// Input: a safetensors file. Once more: 8 bytes that say how much data follows, and a header.
#include <cstdint>
#include <limits>

#include "checkpoint/safetensors.h"
#include "core/error.h"
#include "fuzz/target.h"

namespace saslm::fuzz {
namespace of_safetensors {

void require_sound(const std::vector<TensorInfo>& tensors, int64_t data_bytes) {
  int64_t at = 0;
  for (const TensorInfo& tensor : tensors) {
    require(tensor.begin == at && tensor.end >= at, "tensors lie one behind the other");
    at = tensor.end;
    int64_t count = 1;
    for (const int64_t n : tensor.shape) count *= n;
    require(tensor.count == count, "a tensor's count is that of its shape");
    const int64_t bytes = tensor.end - tensor.begin;
    require(count == 0 ? bytes == 0 : bytes % count == 0 && bytes / count <= 8, "a value has 1 to 8 bytes");
  }
  require(at == data_bytes, "tensors are all of the data");
}

void require_readable(const SafetensorsReader& reader) {
  for (const TensorInfo& tensor : reader.tensors()) {
    require(reader.find(tensor.name) == &tensor, "a tensor is found by its name");
    require(reader.hash(tensor).size() == 16, "every byte can be read");
    std::vector<float> values(size_t(tensor.count));
    const bool is_float = tensor.dtype == "F32" || tensor.dtype == "BF16" || tensor.dtype == "F16";
    require(accepts<CheckpointError>([&] { reader.read(tensor.name, values); }) == is_float,
            "floating-point tensors are read, others refused");
  }
}

bool run(std::string_view input) {
  static const Scratch scratch;
  std::string_view text = input;
  const auto claimed = int64_t(take<uint64_t>(text) & uint64_t(std::numeric_limits<int64_t>::max()));
  const bool header = accepts<CheckpointError>(
      [&] { require_sound(parse_safetensors_header(text, claimed, "header").tensors, claimed); });
  const bool file = accepts<CheckpointError>([&] {
    const SafetensorsReader reader(scratch.write("x.safetensors", input));
    std::string_view after = input;
    const auto length = take<uint64_t>(after);
    require_sound(reader.tensors(), int64_t(after.size() - length));
    require_readable(reader);
  });
  return header || file;
}

std::string file_of(std::string header, const std::string& data) {
  return raw<uint64_t>({header.size()}) + header + data;
}

std::vector<std::string> seeds() {
  const Scratch scratch;
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  const std::vector<ConstNamedTensor> tensors = {{"embed.weight", {2, 3}, values}, {"x", {0, 4}, {}}};
  SafetensorsWriter(scratch / "x.safetensors", tensors, {{"format", "pt"}}).write();
  const std::string halves =
      R"({"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]},"b":{"dtype":"F16","shape":[1,1],"data_offsets":[4,6]},)"
      R"("c":{"dtype":"I64","shape":[],"data_offsets":[6,14]},"d":{"dtype":"U8","shape":[1],"data_offsets":[14,15]}})";
  return {read_file(scratch / "x.safetensors"), file_of(halves, std::string(15, '\x7c')),
          raw<uint64_t>({15}) + halves, file_of("{}", "")};
}

}  // namespace of_safetensors

const Target kSafetensors = {
    "safetensors",
    of_safetensors::run,
    of_safetensors::seeds,
    {"F64", "I64", "U64", "F32", "I32", "U32", "BF16", "F16", "F8_E4M3", "BOOL", "__metadata__"}};

}  // namespace saslm::fuzz
