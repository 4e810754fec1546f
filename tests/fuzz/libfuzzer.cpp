// A program of libFuzzer's for the one parser that SASLM_FUZZ_TARGET names.
#include <cstddef>
#include <cstdint>

#include "fuzz/target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  saslm::fuzz::SASLM_FUZZ_TARGET.run({reinterpret_cast<const char*>(bytes), size});
  return 0;
}
