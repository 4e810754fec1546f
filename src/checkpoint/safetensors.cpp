#include "checkpoint/safetensors.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <bit>
#include <filesystem>
#include <limits>
#include <set>
#include <utility>

#include "checkpoint/hash.h"
#include "checkpoint/json_strict.h"
#include "checkpoint/safetensors_stream.h"
#include "core/bf16.h"
#include "core/dims.h"
#include "core/error.h"

namespace saslm {

static_assert(std::endian::native == std::endian::little,
              "safetensors are little-endian, and written as they lie");

using nlohmann::json;

namespace {

constexpr int64_t kMaxHeader = 100'000'000;         // the format's own limit
constexpr int64_t kLengthBytes = sizeof(uint64_t);  // before the JSON
constexpr int kHeaderDepth = 3;                     // { NAME: { "shape": [ ] } }
constexpr size_t kChunk = size_t(1) << 18;          // values written and hashed while they are in cache

constexpr std::pair<std::string_view, int64_t> kItemSizes[] = {
    {"F64", 8}, {"I64", 8}, {"U64", 8},     {"F32", 4},     {"I32", 4}, {"U32", 4}, {"BF16", 2}, {"F16", 2},
    {"I16", 2}, {"U16", 2}, {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"I8", 1},  {"U8", 1},  {"BOOL", 1}};

int64_t item_size(std::string_view dtype) {  // 0 if unknown
  for (const auto& [name, size] : kItemSizes) {
    if (name == dtype) return size;
  }
  return 0;
}

int64_t count_of(const ConstNamedTensor& tensor) {
  int64_t count = 1;
  for (const int64_t n : tensor.shape) count *= n;
  return count;
}

int64_t bytes_of_one(TensorType type) {
  return type == TensorType::bf16 ? sizeof(bf16) : sizeof(float);
}

std::string make_header(std::span<const ConstNamedTensor> tensors, const Metadata& metadata,
                        TensorType type) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::set<std::string_view> names = {"__metadata__"};
  int64_t begin = 0;
  for (const ConstNamedTensor& tensor : tensors) {
    check(names.insert(tensor.name).second, "names of tensors in one file differ");
    const int64_t end = begin + count_of(tensor) * bytes_of_one(type);
    const char* dtype = type == TensorType::bf16 ? "BF16" : "F32";
    header[tensor.name] = {{"dtype", dtype}, {"shape", tensor.shape}, {"data_offsets", {begin, end}}};
    begin = end;
  }
  std::string text = header.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  text.resize(size_t(round_up(int64_t(text.size()), kLengthBytes)), ' ');
  const auto length = std::bit_cast<std::array<char, kLengthBytes>>(uint64_t(text.size()));
  return std::string(length.data(), length.size()) + text;
}

std::string shown(const json& value) {
  std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  if (text.size() > 60) text.replace(57, std::string::npos, "...");
  return text;
}

// One entry of the header; `where` is "FILE: tensor 'NAME'".
class EntryParser {
 public:
  EntryParser(const json& entry, std::string where) : entry_(entry), where_(std::move(where)) {}

  TensorInfo parse(const std::string& name, int64_t data_bytes) const {
    if (!entry_.is_object() || entry_.size() != 3) {
      refuse("an object of exactly dtype, shape and data_offsets", shown(entry_));
    }
    TensorInfo info{name, text("dtype"), sizes("shape"), 1, 0, 0};
    const int64_t bytes_per_item = item_size(info.dtype);
    if (bytes_per_item == 0) refuse("a known dtype such as F32, BF16 or F16", "'" + info.dtype + "'");
    int64_t bytes = 0;
    bool overflow = false;
    for (const int64_t n : info.shape) overflow |= __builtin_mul_overflow(info.count, n, &info.count);
    overflow |= __builtin_mul_overflow(info.count, bytes_per_item, &bytes);
    if (overflow) refuse("a size below 2^63 bytes", "shape " + shown(entry_["shape"]));

    const std::vector<int64_t> offsets = sizes("data_offsets");
    if (offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] > data_bytes) {
      refuse("data_offsets [begin, end] within the file's " + std::to_string(data_bytes) + " bytes of data",
             shown(entry_["data_offsets"]));
    }
    info.begin = offsets[0], info.end = offsets[1];
    if (info.end - info.begin != bytes) {
      refuse(std::to_string(bytes) + " bytes for " + info.dtype + " of shape " + shape_text(info.shape),
             std::to_string(info.end - info.begin));
    }
    return info;
  }

 private:
  [[noreturn]] void refuse(const std::string& wanted, const std::string& got) const {
    throw CheckpointError(where_ + ": wanted " + wanted + ", got " + got);
  }
  const json& at(const char* key) const {
    const auto found = entry_.find(key);
    if (found == entry_.end()) refuse(std::string("a key ") + key, shown(entry_));
    return *found;
  }
  std::string text(const char* key) const {
    if (!at(key).is_string()) refuse(std::string(key) + " as a string", shown(at(key)));
    return at(key).get<std::string>();
  }
  std::vector<int64_t> sizes(const char* key) const {
    const auto fits = [](const json& n) {
      return n.is_number_unsigned() && n.get<uint64_t>() <= uint64_t(std::numeric_limits<int64_t>::max());
    };
    if (!at(key).is_array() || !std::all_of(at(key).begin(), at(key).end(), fits)) {
      refuse(std::string(key) + " as a list of integers, 0 .. 2^63-1", shown(at(key)));
    }
    return at(key).get<std::vector<int64_t>>();
  }

  const json& entry_;
  std::string where_;
};

Metadata parse_metadata(const json& entry, const std::string& path) {
  const auto is_text = [](const json& value) { return value.is_string(); };
  if (!entry.is_object() || !std::all_of(entry.begin(), entry.end(), is_text)) {
    throw CheckpointError(path + ": wanted __metadata__ as an object of strings, got " + shown(entry));
  }
  return entry.get<Metadata>();
}

// Writes one tensor's bytes at the file position.
void write_values(File& file, std::span<const float> data, TensorType type, FileSum& sum, Hasher& whole,
                  Hasher& part) {
  std::vector<bf16> narrow;
  for (size_t at = 0; at < data.size(); at += kChunk) {
    const auto values = data.subspan(at, std::min(kChunk, data.size() - at));
    auto chunk = std::as_bytes(values);
    if (type == TensorType::bf16) {
      narrow.resize(values.size());
      std::transform(values.begin(), values.end(), narrow.begin(), [](float x) { return bf16(x); });
      chunk = std::as_bytes(std::span(narrow));
    }
    part.update(chunk);
    whole.update(chunk);
    file.write_all(chunk);
    sum.size += int64_t(chunk.size());
  }
}

FileSum write_all(File& file, const std::string& header, std::span<const ConstNamedTensor> tensors,
                  TensorType type, const ValuesOf& values_of) {
  FileSum sum;
  sum.name = std::filesystem::path(file.path()).filename().string();
  Hasher whole;
  whole.update(bytes_of(header));
  file.write_all(bytes_of(header));
  sum.size = int64_t(header.size());
  for (const ConstNamedTensor& tensor : tensors) {
    const std::span<const float> data = values_of(tensor);
    check(count_of(tensor) == int64_t(data.size()), "a tensor has as many values as its shape says");
    Hasher part;
    write_values(file, data, type, sum, whole, part);
    sum.tensors[tensor.name] = part.hex();
  }
  sum.xxh3 = whole.hex();
  file.sync();
  return sum;
}

float from_bf16(uint16_t bits) {
  return std::bit_cast<float>(uint32_t(bits) << 16);
}

float from_f16(uint16_t bits) {
  const uint32_t sign = uint32_t(bits & 0x8000) << 16, exponent = bits >> 10 & 31, mantissa = bits & 1023;
  if (exponent == 0) {  // zero and subnormals: units of 2^-24
    return std::bit_cast<float>(std::bit_cast<uint32_t>(float(mantissa) * 0x1p-24f) | sign);
  }
  const uint32_t widened = exponent == 31 ? 255 : exponent + 127 - 15;
  return std::bit_cast<float>(sign | widened << 23 | mantissa << 13);
}

}  // namespace

std::string shape_text(std::span<const int64_t> shape) {
  std::string text = "[";
  for (const int64_t n : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(n);
  return text + "]";
}

SafetensorsWriter::SafetensorsWriter(const std::string& path, std::span<const ConstNamedTensor> tensors,
                                     const Metadata& metadata, TensorType type)
    : tensors_(tensors),
      type_(type),
      header_(make_header(tensors, metadata, type)),
      file_(path, O_WRONLY | O_CREAT | O_TRUNC) {
  for (const ConstNamedTensor& tensor : tensors) {
    check(count_of(tensor) == int64_t(tensor.data.size()), "a tensor has as many values as its shape says");
  }
  file_.preallocate(safetensors_size(tensors, metadata, type));
}

FileSum SafetensorsWriter::write() {
  const auto as_given = [](const ConstNamedTensor& tensor) { return tensor.data; };
  return write_all(file_, header_, tensors_, type_, as_given);
}

FileSum stream_safetensors(const std::string& path, std::span<const ConstNamedTensor> tensors,
                           const Metadata& metadata, const ValuesOf& values_of) {
  File file(path, O_WRONLY | O_CREAT | O_TRUNC);
  file.preallocate(safetensors_size(tensors, metadata));
  return write_all(file, make_header(tensors, metadata, TensorType::f32), tensors, TensorType::f32,
                   values_of);
}

int64_t safetensors_size(std::span<const ConstNamedTensor> tensors, const Metadata& metadata,
                         TensorType type) {
  int64_t bytes = int64_t(make_header(tensors, metadata, type).size());
  for (const ConstNamedTensor& tensor : tensors) bytes += count_of(tensor) * bytes_of_one(type);
  return bytes;
}

SafetensorsHeader parse_safetensors_header(std::string_view text, int64_t data_bytes,
                                           const std::string& path) {
  const json document = parse_json_strict(text, path + ": header", kHeaderDepth);
  if (!document.is_object())
    throw CheckpointError(path + ": wanted an object as header, got " + shown(document));
  SafetensorsHeader header;
  for (const auto& [name, entry] : document.items()) {
    if (name == "__metadata__") {
      header.metadata = parse_metadata(entry, path);
    } else {
      header.tensors.push_back(EntryParser(entry, path + ": tensor '" + name + "'").parse(name, data_bytes));
    }
  }
  std::sort(header.tensors.begin(), header.tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  int64_t expected = 0;
  for (const TensorInfo& tensor : header.tensors) {
    if (tensor.begin != expected) {
      throw CheckpointError(path + ": tensor '" + tensor.name + "': wanted its data at byte " +
                            std::to_string(expected) + ", got " + std::to_string(tensor.begin) +
                            " (tensors overlap or leave a gap)");
    }
    expected = tensor.end;
  }
  if (expected != data_bytes) {
    throw CheckpointError(path + ": wanted " + std::to_string(expected) +
                          " bytes of data, as in the header, got " + std::to_string(data_bytes) +
                          " (the file was cut short or has grown)");
  }
  return header;
}

SafetensorsReader::SafetensorsReader(const std::string& path) : file_(path, O_RDONLY) {
  const int64_t size = file_.size();
  if (size < kLengthBytes) {
    throw CheckpointError(path + ": wanted a safetensors file, got " + std::to_string(size) + " bytes");
  }
  uint64_t length = 0;
  file_.pread_all(std::as_writable_bytes(std::span(&length, 1)), 0);
  const int64_t limit = std::min(kMaxHeader, size - kLengthBytes);
  if (length > uint64_t(limit)) {
    throw CheckpointError(path + ": wanted a header of at most " + std::to_string(limit) + " bytes, got " +
                          std::to_string(length) + " (truncated, or not a safetensors file)");
  }
  std::string text(length, '\0');
  file_.pread_all(std::as_writable_bytes(std::span(text)), kLengthBytes);
  data_begin_ = kLengthBytes + int64_t(length);
  header_ = parse_safetensors_header(text, size - data_begin_, path);
}

const TensorInfo* SafetensorsReader::find(std::string_view name) const {
  const auto found = std::find_if(header_.tensors.begin(), header_.tensors.end(),
                                  [&](const TensorInfo& tensor) { return tensor.name == name; });
  return found == header_.tensors.end() ? nullptr : &*found;
}

void SafetensorsReader::read(std::string_view name, std::span<float> out) const {
  const std::string where = path() + ": tensor '" + std::string(name) + "'";
  const TensorInfo* tensor = find(name);
  if (!tensor) throw CheckpointError(where + " is missing");
  if (tensor->count != int64_t(out.size())) {
    throw CheckpointError(where + ": wanted " + std::to_string(out.size()) + " values, got shape " +
                          shape_text(tensor->shape));
  }
  const int64_t begin = data_begin_ + tensor->begin;
  if (tensor->dtype == "F32") return file_.pread_all(std::as_writable_bytes(out), begin);
  if (tensor->dtype != "BF16" && tensor->dtype != "F16") {
    throw CheckpointError(where + ": wanted F32, BF16 or F16, got " + tensor->dtype);
  }
  const auto widen = tensor->dtype == "BF16" ? from_bf16 : from_f16;
  std::vector<uint16_t> narrow(std::min(out.size(), kChunk));
  for (size_t at = 0; at < out.size(); at += narrow.size()) {
    const std::span chunk(narrow.data(), std::min(narrow.size(), out.size() - at));
    file_.pread_all(std::as_writable_bytes(chunk), begin + int64_t(at * sizeof(uint16_t)));
    std::transform(chunk.begin(), chunk.end(), out.begin() + ptrdiff_t(at), widen);
  }
}

std::string SafetensorsReader::hash(const TensorInfo& tensor) const {
  return hash_range(file_, data_begin_ + tensor.begin, tensor.end - tensor.begin);
}

}  // namespace saslm
