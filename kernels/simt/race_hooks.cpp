// The functions that clang's -fsanitize=thread makes kernels call, instead of its runtime; and, by the
// linker's --wrap, the memory functions that it leaves to be intercepted. An abandoned fiber leaves them
// without an exception.
#include <dlfcn.h>

#include <cstdio>
#include <cstring>
#include <memory>

#include "kernels/simt/machine.h"
#include "kernels/simt/shadow.h"

namespace saslm::simt::race {

void hooked(const void* p, size_t bytes, bool is_write, const void* return_address);

std::string Site::text() const {
  if (word_ >> 48)
    return simt::text({reinterpret_cast<const char*>(word_ & 0xffffffffffff), int(word_ >> 48)});
  Dl_info info;
  if (!word_ || !dladdr(reinterpret_cast<const void*>(word_), &info)) return "an unknown place";
  char command[512];
  std::snprintf(command, sizeof command, "addr2line -e '%s' %#zx 2>/dev/null", info.dli_fname,
                size_t(word_ - 1 - reinterpret_cast<uint64_t>(info.dli_fbase)));
  char line[512] = "";
  if (const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command, "r"), pclose); pipe)
    if (!std::fgets(line, sizeof line, pipe.get())) line[0] = 0;
  std::string text(line);
  if (const size_t slash = text.rfind('/'); slash != text.npos) text.erase(0, slash + 1);
  text.erase(std::min(text.find_first_of(" \n"), text.size()));
  return text.empty() ? "an unknown place" : text;
}

}  // namespace saslm::simt::race

using saslm::simt::race::hooked;

#define RETURN_ADDRESS __builtin_return_address(0)
#define HOOKS(n)                                     \
  void __tsan_read##n(void* p) {                     \
    hooked(p, n, false, RETURN_ADDRESS);             \
  }                                                  \
  void __tsan_write##n(void* p) {                    \
    hooked(p, n, true, RETURN_ADDRESS);              \
  }                                                  \
  void __tsan_unaligned_read##n(void* p) {           \
    hooked(p, n, false, RETURN_ADDRESS);             \
  }                                                  \
  void __tsan_unaligned_write##n(void* p) {          \
    hooked(p, n, true, RETURN_ADDRESS);              \
  }                                                  \
  void __tsan_volatile_read##n(void* p) {            \
    hooked(p, n, false, RETURN_ADDRESS);             \
  }                                                  \
  void __tsan_volatile_write##n(void* p) {           \
    hooked(p, n, true, RETURN_ADDRESS);              \
  }                                                  \
  void __tsan_unaligned_volatile_read##n(void* p) {  \
    hooked(p, n, false, RETURN_ADDRESS);             \
  }                                                  \
  void __tsan_unaligned_volatile_write##n(void* p) { \
    hooked(p, n, true, RETURN_ADDRESS);              \
  }                                                  \
  void __tsan_read_write##n(void* p) {               \
    hooked(p, n, false, RETURN_ADDRESS);             \
    hooked(p, n, true, RETURN_ADDRESS);              \
  }                                                  \
  void __tsan_unaligned_read_write##n(void* p) {     \
    hooked(p, n, false, RETURN_ADDRESS);             \
    hooked(p, n, true, RETURN_ADDRESS);              \
  }

extern "C" {
HOOKS(1) HOOKS(2) HOOKS(4) HOOKS(8) HOOKS(16) void __tsan_read_range(void* p, size_t n) {
  hooked(p, n, false, RETURN_ADDRESS);
}
void __tsan_write_range(void* p, size_t n) {
  hooked(p, n, true, RETURN_ADDRESS);
}
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
uint8_t __tsan_atomic8_load(const volatile uint8_t* p, int) {
  return *p;
}  // guards of the host's static variables

void* __wrap_memcpy(void* to, const void* from, size_t n) {
  hooked(from, n, false, RETURN_ADDRESS);
  hooked(to, n, true, RETURN_ADDRESS);
  return std::memcpy(to, from, n);
}
void* __wrap_memmove(void* to, const void* from, size_t n) {
  hooked(from, n, false, RETURN_ADDRESS);
  hooked(to, n, true, RETURN_ADDRESS);
  return std::memmove(to, from, n);
}
void* __wrap_memset(void* to, int value, size_t n) {
  hooked(to, n, true, RETURN_ADDRESS);
  return std::memset(to, value, n);
}
}
