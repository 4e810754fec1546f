#include "ptx/machine/run/allocations.h"

namespace ptx {

void Allocations::add(const void* p, size_t bytes, bool writable) {
  const auto begin = reinterpret_cast<uint64_t>(p);
  ranges_[begin] = {begin, begin + bytes, writable};
}

bool Allocations::remove(const void* p) {
  return ranges_.erase(reinterpret_cast<uint64_t>(p)) != 0;
}

const Allocations::Range* Allocations::find(uint64_t address, uint64_t bytes) const {
  auto it = ranges_.upper_bound(address);
  if (it == ranges_.begin()) return nullptr;
  const Range& r = (--it)->second;
  return address < r.end && bytes <= r.end - address ? &r : nullptr;
}

std::string Allocations::nearest(uint64_t address) const {
  auto it = ranges_.upper_bound(address);
  if (it == ranges_.begin()) return "";
  const Range& r = (--it)->second;
  return "; " + std::to_string(address - r.begin) + " bytes into a block of " +
         std::to_string(r.end - r.begin);
}

}  // namespace ptx
