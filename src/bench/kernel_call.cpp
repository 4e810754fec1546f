#include "bench/kernel_call.h"

#include <sys/mman.h>

#include <algorithm>

#include "core/dims.h"
#include "core/error.h"

namespace saslm {
namespace {

constexpr int64_t kAlignBytes = 256;  // as in a layout

}  // namespace

Packing::Packing(const std::vector<Touched>& touched, int64_t gap_bytes) : bytes_(gap_bytes) {
  for (const Touched& t : touched) ranges_.push_back({t.begin, t.begin + t.bytes, 0});
  std::sort(ranges_.begin(), ranges_.end(), [](const Range& a, const Range& b) { return a.begin < b.begin; });
  size_t kept = 0;
  for (const Range& range : ranges_) {
    if (kept > 0 && range.begin < ranges_[kept - 1].end)
      ranges_[kept - 1].end = std::max(ranges_[kept - 1].end, range.end);
    else
      ranges_[kept++] = range;
  }
  ranges_.resize(kept);
  for (Range& range : ranges_) {
    range.offset = bytes_ + int64_t(reinterpret_cast<uintptr_t>(range.begin) % kAlignBytes);
    bytes_ = round_up(range.offset + (range.end - range.begin) + gap_bytes, kAlignBytes);
  }
}

std::byte* Packing::at(std::byte* block, const void* recorded) const {
  const auto* address = static_cast<const std::byte*>(recorded);
  const auto after = std::upper_bound(ranges_.begin(), ranges_.end(), address,
                                      [](const std::byte* a, const Range& r) { return a < r.begin; });
  check(after != ranges_.begin() && address < (after - 1)->end, "a call moves only what it touches");
  return block + (after - 1)->offset + (address - (after - 1)->begin);
}

std::shared_ptr<std::byte> reserve_addresses(int64_t bytes) {
  const size_t size = size_t(std::max<int64_t>(bytes, 1));
  void* block = mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (block == MAP_FAILED)
    throw MachineError("cannot reserve " + std::to_string(bytes) +
                       " bytes of addresses (mmap); the limit of virtual memory (ulimit -v) is too low");
  return {static_cast<std::byte*>(block), [size](std::byte* p) { munmap(p, size); }};
}

}  // namespace saslm
