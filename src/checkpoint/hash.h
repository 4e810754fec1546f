// 64-bit XXH3 as 16 hexadecimal digits, as `xxhsum -H3` prints it.
#pragma once
#include <xxhash.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "core/file.h"

namespace saslm {

class Hasher {
 public:
  Hasher();
  void update(std::span<const std::byte> bytes);
  std::string hex() const;  // of all bytes so far

 private:
  std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> state_;
};

std::string hash_hex(std::span<const std::byte> bytes);
std::string hash_range(const File& file, int64_t begin, int64_t bytes);  // IoError if the file is shorter

}  // namespace saslm
