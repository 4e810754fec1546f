// AddressSanitizer's interface, or nothing when the build does not have it.
#pragma once
#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define SASLM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SASLM_ASAN 1
#endif
#endif

#ifdef SASLM_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace saslm::simt {
#ifdef SASLM_ASAN
inline constexpr bool kAsan = true;
inline void forbid_access(const void* p, size_t bytes) {
  __asan_poison_memory_region(p, bytes);
}
inline void allow_access(const void* p, size_t bytes) {
  __asan_unpoison_memory_region(p, bytes);
}
#else
inline constexpr bool kAsan = false;
inline void forbid_access(const void*, size_t) {}
inline void allow_access(const void*, size_t) {}
#endif
}  // namespace saslm::simt
