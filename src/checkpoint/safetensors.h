// safetensors files: names, shapes and bytes of tensors, without executable content.
//
//   u64 n, little-endian | n bytes of JSON, padded with spaces | the tensors' bytes, no gaps
//
//   {"__metadata__": {"key": "text"}, "NAME": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin,
//   end]}, ...}
//
// We write F32 or, on request, BF16; offsets count from the end of the JSON. Reading trusts nothing: all
// claims of the header are checked against the file's size before memory is allocated or data is read.
//
// Throws CheckpointError with file, tensor, wanted and got; IoError if reading or writing fails.
#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/file.h"

namespace saslm {

// A tensor as this folder exchanges it: name, shape (row-major, contiguous) and float32 values in host
// memory.
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

enum class TensorType { f32, bf16 };  // type of all tensors in a file; bf16 rounds (core/bf16.h)

// Checksums of a written file, computed from memory while writing: XXH3 in hex (hash.h).
struct FileSum {
  std::string name;  // without folder
  int64_t size = 0;  // bytes
  std::string xxh3;
  std::map<std::string, std::string> tensors;  // safetensors only: name -> XXH3 of the tensor's bytes
};

// Writes in two steps, so that several files can reserve their space before any byte is written.
class SafetensorsWriter {
 public:
  // Creates or empties `path` and reserves its whole size. `tensors` must outlive the writer.
  SafetensorsWriter(const std::string& path, std::span<const ConstNamedTensor> tensors,
                    const Metadata& metadata = {}, TensorType type = TensorType::f32);
  FileSum write();  // writes all tensors in the given order, then fsyncs

 private:
  std::span<const ConstNamedTensor> tensors_;
  TensorType type_;
  std::string header_;
  File file_;
};

// Size of such a file in bytes. Only names and shapes are used; data may be empty.
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

// Checks the JSON against `data_bytes`, the number of bytes that follow it. `path` is for messages.
SafetensorsHeader parse_safetensors_header(std::string_view text, int64_t data_bytes,
                                           const std::string& path);

class SafetensorsReader {
 public:
  explicit SafetensorsReader(const std::string& path);

  const std::string& path() const { return file_.path(); }
  const std::vector<TensorInfo>& tensors() const { return header_.tensors; }
  const Metadata& metadata() const { return header_.metadata; }
  const TensorInfo* find(std::string_view name) const;  // nullptr if absent

  // Reads F32, BF16 or F16 (converted exactly); other types are refused. out.size() must be the tensor's
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
