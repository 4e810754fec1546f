#include "core/arena.h"

#include <cstdlib>
#include <cstring>

namespace saslm {

std::shared_ptr<std::byte> allocate_host(int64_t bytes) {
  constexpr int64_t kPage = 4096;
  const int64_t rounded = round_up(std::max<int64_t>(bytes, 1), kPage);
  void* block = std::aligned_alloc(kPage, size_t(rounded));
  if (block == nullptr)
    throw MachineError(
        "out of memory: the plan needs " + std::to_string(bytes) +
        " bytes in one block; `saslm plan` shows what for; a smaller train.micro_batch needs less");
  std::memset(block, 0, size_t(rounded));
  return {static_cast<std::byte*>(block), [](std::byte* p) { std::free(p); }};
}

bool poisons_dead_buffers() {
  const char* const value = std::getenv("SASLM_POISON");
  return value != nullptr && *value != 0 && std::strcmp(value, "0") != 0;
}

}  // namespace saslm
