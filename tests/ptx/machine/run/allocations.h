// Global memory that kernels may touch: every allocation is a range of its own.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

namespace ptx {

class Allocations {
 public:
  struct Range {
    uint64_t begin, end;
    bool writable;
  };
  void add(const void* p, size_t bytes, bool writable = true);
  bool remove(const void* p);
  const Range* find(uint64_t address, uint64_t bytes) const;  // the range that holds all of them, or null
  std::string nearest(uint64_t address) const;                // of the range before it, for messages

 private:
  std::map<uint64_t, Range> ranges_;
};

}  // namespace ptx
