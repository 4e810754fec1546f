// The shared memory of a block: an arena filled with 0xff bytes (NaN as float and bf16, -1 as int) at the
// start of every block, so that what was never written shows; the dynamic part first, then each SIMT_SHARED
// variable, with redzones between that AddressSanitizer and the race build watch.
//
// It cannot catch bank conflicts, nor what a real block leaves behind for the next.
#include <sys/mman.h>

#include <cstdint>

#include "kernels/simt/cpu_basic.h"
#include "kernels/simt/machine.h"
#include "kernels/simt/sanitizer.h"

namespace saslm::simt {
namespace {

constexpr size_t kRedzone = 64, kMaxStatic = 48 * 1024;

size_t round_up(size_t n, size_t to) {
  return (n + to - 1) / to * to;
}

}  // namespace

SharedMemory::SharedMemory() {
  void* p = mmap(nullptr, kArenaBytes + 1024, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) throw IoError::from_errno("mmap", "the shared memory of the SIMT layer");
  arena_ = reinterpret_cast<char*>(round_up(reinterpret_cast<uintptr_t>(p), 1024));
  allow_access(arena_, kArenaBytes);
  std::memset(arena_, 0xff, kArenaBytes);
}

void SharedMemory::begin_block(size_t dynamic_bytes) {
  allow_access(arena_, kArenaBytes);
  std::memset(arena_, 0xff, std::max(top_, dynamic_bytes));
  forbid_access(arena_, kArenaBytes);
  allow_access(arena_, dynamic_bytes);
  variables_.clear();
  dynamic_bytes_ = dynamic_bytes;
  static_bytes_ = 0;
  top_ = round_up(dynamic_bytes, 1024);
  race::allocate(arena_, dynamic_bytes);
}

void* SharedMemory::variable(const void* identity, size_t bytes, size_t alignment, const char* name) {
  for (const SharedVariable& v : variables_)
    if (v.identity == identity) return v.data;
  static_bytes_ += bytes;
  if (static_bytes_ > kMaxStatic)
    fail("SIMT_SHARED " + std::string(name) + " brings the block's static shared memory to " +
             std::to_string(static_bytes_) + " bytes",
         "48 KiB is the limit; use dyn_smem", {});
  const size_t limit = machine().options.device.shared_bytes;
  if (static_bytes_ + dynamic_bytes_ > limit)
    fail("SIMT_SHARED " + std::string(name) + " brings the block's shared memory to " +
             std::to_string(static_bytes_ + dynamic_bytes_) + " bytes",
         "the device has " + std::to_string(limit) + "; make the tiles smaller", {});
  const size_t at = round_up(top_ + kRedzone, alignment);
  top_ = at + bytes + kRedzone;
  if (top_ > kArenaBytes) fail("too many SIMT_SHARED variables", "put them into one struct", {});
  allow_access(arena_ + at, bytes);
  race::allocate(arena_ + at, bytes);
  variables_.push_back({identity, arena_ + at, bytes});
  return arena_ + at;
}

bool SharedMemory::contains(const void* p, size_t bytes) const {
  const char* first = static_cast<const char*>(p);
  if (first >= arena_ && first + bytes <= arena_ + dynamic_bytes_) return true;
  for (const SharedVariable& v : variables_)
    if (first >= v.data && first + bytes <= v.data + v.bytes) return true;
  return false;
}

void SharedMemory::check(const void* p, size_t bytes, size_t alignment, const char* what, CallSite at) const {
  if (!contains(p, bytes))
    fail(std::string(what) + ": " + std::to_string(bytes) + " bytes at " +
             std::to_string(static_cast<const char*>(p) - arena_) +
             " of the shared memory are not the block's (dynamic: " + std::to_string(dynamic_bytes_) +
             " bytes)",
         "check the index and the size given to launch()", at);
  if (reinterpret_cast<uintptr_t>(p) % alignment)
    fail(std::string(what) + ": shared address " + std::to_string(address(p)) + " is not aligned to " +
             std::to_string(alignment) + " bytes",
         "align the array and make row strides multiples of it", at);
}

void* shared_variable(const void* identity, size_t bytes, size_t alignment, const char* name) {
  return machine().shared.variable(identity, bytes, alignment, name);
}
void* dynamic_shared(CallSite at) {
  if (machine().shared.dynamic_bytes() == 0)
    fail("dyn_smem of a block without dynamic shared memory", "give launch() the number of bytes", at);
  return machine().shared.dynamic();
}
uint32_t shared_address(const void* p, CallSite at) {
  machine().shared.check(p, 1, 1, "shared_address", at);
  return machine().shared.address(p);
}

void check_global(const void* p, CallSite at) {
  if (machine().shared.contains(p, 1))
    fail("stv_global to the block's shared memory", "stv writes to either memory", at);
}

void check_vector_access(const void* p, size_t bytes, bool is_write, CallSite at) {
  if (reinterpret_cast<uintptr_t>(p) % bytes)
    fail(std::string(is_write ? "stv" : "ldv") + " of " + std::to_string(bytes) +
             " bytes at an address that is only " +
             std::to_string(reinterpret_cast<uintptr_t>(p) & -reinterpret_cast<uintptr_t>(p)) +
             "-byte aligned",
         "row strides and offsets must be multiples of the vector, or use a narrower one", at);
  if (!machine().current) return;
  if (is_write)
    race::write(p, bytes, at);
  else
    race::read(p, bytes, at);
}

}  // namespace saslm::simt
