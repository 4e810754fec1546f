#include "ptx/machine/run/conflicts.h"

#include <algorithm>

namespace ptx {
namespace {

constexpr int kBanks = 32;
constexpr uint64_t kSectorBytes = 32;

}  // namespace

void count_shared(const Instr& in, uint32_t lanes, const Addresses& a, uint32_t bytes) {
  const int together = bytes <= 4 ? 32 : bytes == 8 ? 16 : 8;
  for (int first = 0; first < kWarp; first += together) {
    uint64_t words[kWarp * 4];
    int n = 0;
    for (int l = first; l < first + together; ++l)
      if (lanes >> l & 1)
        for (uint32_t b = 0; b < bytes; b += 4) words[n++] = (a.of[l] + b) / 4;
    std::sort(words, words + n);
    n = int(std::unique(words, words + n) - words);
    int banks[kBanks] = {}, most = 0;
    for (int i = 0; i < n; ++i) most = std::max(most, ++banks[words[i] % kBanks]);
    if (most > 1) in.conflicts += uint64_t(most - 1);
  }
}

void count_global(const Instr& in, uint32_t lanes, const Addresses& a, uint32_t bytes) {
  uint64_t sectors[2 * kWarp];
  int n = 0;
  for (int l = 0; l < kWarp; ++l) {
    if ((lanes >> l & 1) == 0) continue;
    const uint64_t first = a.of[l] / kSectorBytes, last = (a.of[l] + bytes - 1) / kSectorBytes;
    sectors[n++] = first;
    if (last != first) sectors[n++] = last;
  }
  std::sort(sectors, sectors + n);
  in.sectors += uint64_t(std::unique(sectors, sectors + n) - sectors);
  in.wanted += uint64_t(__builtin_popcount(lanes)) * bytes;
}

void count_access(const Instr& in, uint32_t lanes, const Addresses& a, uint32_t bytes) {
  const bool generic = in.space == Space::generic;
  const bool window = generic && a.of[__builtin_ctz(lanes)] >> 60 == kSharedWindow >> 60;
  if (in.space == Space::shared || window) {
    count_shared(in, lanes, a, bytes);
  } else if (in.space == Space::global || generic) {
    count_global(in, lanes, a, bytes);
  }
}

}  // namespace ptx
