#include "checkpoint/hash.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <new>
#include <vector>

namespace saslm {

Hasher::Hasher() : state_(XXH3_createState(), XXH3_freeState) {
  if (!state_) throw std::bad_alloc();
  XXH3_64bits_reset(state_.get());
}

void Hasher::update(std::span<const std::byte> bytes) {
  if (!bytes.empty()) XXH3_64bits_update(state_.get(), bytes.data(), bytes.size());
}

std::string Hasher::hex() const {
  char text[17];
  std::snprintf(text, sizeof text, "%016" PRIx64, uint64_t(XXH3_64bits_digest(state_.get())));
  return text;
}

std::string hash_hex(std::span<const std::byte> bytes) {
  Hasher hasher;
  hasher.update(bytes);
  return hasher.hex();
}

std::string hash_range(const File& file, int64_t begin, int64_t bytes) {
  constexpr int64_t kChunk = int64_t(1) << 20;
  std::vector<std::byte> buffer(size_t(std::min(kChunk, bytes)));
  Hasher hasher;
  for (const int64_t end = begin + bytes; begin < end;) {
    const std::span chunk(buffer.data(), size_t(std::min(kChunk, end - begin)));
    file.pread_all(chunk, begin);
    hasher.update(chunk);
    begin += int64_t(chunk.size());
  }
  return hasher.hex();
}

}  // namespace saslm
