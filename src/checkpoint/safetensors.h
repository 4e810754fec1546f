// safetensors files: names, shapes and bytes of tensors, and nothing that can run.
//
//   u64 n, little-endian | n bytes of JSON, padded with spaces | the tensors' bytes, no gaps
//
//   {"__metadata__": {"key": "text"}, "NAME": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin,
//   end]}, ...}
//
// We write F32, or BF16 where asked; offsets count from the end of the JSON. Reading trusts nothing:
// everything the header claims is checked against the file's size before memory is taken or data is read.
// Errors   CheckpointError names file, tensor, wanted and got; IoError when the machine fails.
#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/file.h"

namespace saslm {

// The room's only currency: a name, a shape (row-major, contiguous) and float32 values in host memory.
struct ConstNamedTensor {
  std::string name;
  std::vector<int64_t> shape;
  std::span<const float> data;  // product(shape) values
};
struct NamedTensor {
  std::string name;
  std::vector<int64_t> shape;
  std::span<float> data;
  operator ConstNamedTensor() const { return {name, shape, data}; }
};

using Metadata = std::map<std::string, std::string>;

enum class TensorType { f32, bf16 };  // of all tensors that are written to a file; bf16 rounds (core/bf16.h)

// What was written, computed from memory on the way out. Sums are XXH3 in hex (hash.h).
struct FileSum {
  std::string name;  // without folder
  int64_t size = 0;  // bytes
  std::string xxh3;
  std::map<std::string, std::string> tensors;  // safetensors only: name -> XXH3 of the tensor's bytes
};

// Two steps, so that several files can reserve their space before the first byte of any is written.
class SafetensorsWriter {
 public:
  // Creates or empties `path` and reserves its whole size. `tensors` must outlive the writer.
  SafetensorsWriter(const std::string& path, std::span<const ConstNamedTensor> tensors,
                    const Metadata& metadata = {}, TensorType type = TensorType::f32);
  FileSum write();  // everything, in the given order, straight from the spans; fsynced

 private:
  std::span<const ConstNamedTensor> tensors_;
  TensorType type_;
  std::string header_;
  File file_;
};

// Bytes such a file will have. Only names and shapes are looked at: data may be empty.
int64_t safetensors_size(std::span<const ConstNamedTensor> tensors, const Metadata& metadata = {},
                         TensorType type = TensorType::f32);

struct TensorInfo {
  std::string name;
  std::string dtype;  // "F32", "BF16", ...
  std::vector<int64_t> shape;
  int64_t count = 0;           // product(shape)
  int64_t begin = 0, end = 0;  // bytes, from the start of the data
};

struct SafetensorsHeader {
  std::vector<TensorInfo> tensors;  // in the order of their bytes
  Metadata metadata;
};

// Checks the JSON against `data_bytes`, the size of what follows it. `path` is for messages.
SafetensorsHeader parse_safetensors_header(std::string_view text, int64_t data_bytes,
                                           const std::string& path);

class SafetensorsReader {
 public:
  explicit SafetensorsReader(const std::string& path);

  const std::string& path() const { return file_.path(); }
  const std::vector<TensorInfo>& tensors() const { return header_.tensors; }
  const Metadata& metadata() const { return header_.metadata; }
  const TensorInfo* find(std::string_view name) const;  // nullptr when absent

  // F32 as it is, BF16 and F16 widened exactly; other types are refused by name. out.size() = the tensor's
  // count.
  void read(std::string_view name, std::span<float> out) const;
  std::string hash(const TensorInfo& tensor) const;  // XXH3 of its bytes

 private:
  File file_;
  int64_t data_begin_ = 0;
  SafetensorsHeader header_;
};

std::string shape_text(std::span<const int64_t> shape);  // "[768, 64]"

}  // namespace saslm
