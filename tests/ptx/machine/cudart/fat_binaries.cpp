// What nvcc's host code registers before main: fat binaries, kernels, variables.
//
// A fat binary is a header (bytes 6, 7: its size; 8..15: what follows) and entries, each a header (0, 1:
// kind, 1 is PTX; 4..7: its size; 8..15: bytes of the text; 28..31: architecture) and a text. nvcc
// --no-compress leaves it readable.
#include <cstdio>
#include <cstring>

#include "ptx/machine/cudart/device.h"

namespace ptx {
namespace {

constexpr uint16_t kPtx = 1;
constexpr size_t kLeastHeader = 64;

template <class T>
T read(const uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

// The text from .version to its end; empty where it is compressed.
std::string ptx_text(const uint8_t* data, size_t bytes) {
  const std::string_view all(reinterpret_cast<const char*>(data), bytes);
  const size_t begin = all.find(".version");
  if (begin == std::string_view::npos) return {};
  return std::string(all.substr(begin, all.find('\0', begin) - begin));
}

void take_newest(FatBinary& binary, const uint8_t* entry, const Settings& s) {
  const auto architecture = int(read<uint32_t>(entry + 28));
  if (read<uint16_t>(entry) != kPtx || architecture > s.architecture || architecture <= binary.architecture)
    return;
  std::string text = ptx_text(entry + read<uint32_t>(entry + 4), read<uint64_t>(entry + 8));
  if (text.empty()) {
    if (s.verbose) std::fprintf(stderr, "PTX in a fat binary is compressed: compile with --no-compress\n");
    return;
  }
  binary.architecture = architecture;
  binary.text = std::move(text);
}

}  // namespace
}  // namespace ptx

extern "C" {

void** __cudaRegisterFatBinary(void* wrapper) {
  struct Wrapper {
    int magic, version;
    const uint8_t* data;
    void* name;
  };
  const uint8_t* const data = static_cast<const Wrapper*>(wrapper)->data;
  const uint8_t* entry = data + ptx::read<uint16_t>(data + 6);
  const uint8_t* const end = entry + ptx::read<uint64_t>(data + 8);
  ptx::Device& device = ptx::device();
  auto binary = std::make_unique<ptx::FatBinary>();
  while (entry + ptx::kLeastHeader <= end) {
    ptx::take_newest(*binary, entry, device.machine.settings);
    entry += ptx::read<uint32_t>(entry + 4) + ptx::read<uint64_t>(entry + 8);
  }
  device.binaries.push_back(std::move(binary));
  return reinterpret_cast<void**>(device.binaries.back().get());
}

void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
char __cudaInitModule(void**) {
  return 0;
}

void __cudaRegisterFunction(void** binary, const char* host, char*, const char* name, int, uint3*, uint3*,
                            dim3*, dim3*, int*) {
  ptx::device().kernels[host] = {reinterpret_cast<ptx::FatBinary*>(binary), name};
}

void __cudaRegisterVar(void**, char*, char*, const char*, int, size_t, int, int) {}

}  // extern "C"
