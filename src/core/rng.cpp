#include "core/rng.h"

#include <cmath>
#include <numbers>

#include "core/error.h"

namespace saslm {

Philox philox(uint64_t key, uint64_t counter_low, uint64_t counter_high) {
  constexpr uint32_t kMul0 = 0xD2511F53, kMul1 = 0xCD9E8D57;
  constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
  Philox c = {uint32_t(counter_low), uint32_t(counter_low >> 32), uint32_t(counter_high),
              uint32_t(counter_high >> 32)};
  uint32_t k0 = uint32_t(key), k1 = uint32_t(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t(kMul0) * c[0], p1 = uint64_t(kMul1) * c[2];
    c = {uint32_t(p1 >> 32) ^ c[1] ^ k0, uint32_t(p1), uint32_t(p0 >> 32) ^ c[3] ^ k1, uint32_t(p0)};
    k0 += kWeyl0;
    k1 += kWeyl1;
  }
  return c;
}

uint64_t stream_key(uint64_t seed, std::string_view purpose) {
  uint64_t hash = 0xCBF29CE484222325;  // FNV-1a over the name, then mixed with the seed by Philox
  for (const char ch : purpose) hash = (hash ^ uint8_t(ch)) * 0x100000001B3;
  const Philox mixed = philox(seed, hash);
  return uint64_t(mixed[1]) << 32 | mixed[0];
}

namespace {
double to_unit(uint32_t high, uint32_t low) {
  return double((uint64_t(high) << 32 | low) >> 11) * 0x1p-53;
}
}  // namespace

double uniform(uint64_t key, uint64_t index) {
  const Philox w = philox(key, index);
  return to_unit(w[1], w[0]);
}

double normal(uint64_t key, uint64_t index) {
  const Philox w = philox(key, index);
  const double radius = std::sqrt(-2 * std::log(1 - to_unit(w[1], w[0])));  // 1 - u is in (0, 1]
  return radius * std::cos(2 * std::numbers::pi * to_unit(w[3], w[2]));
}

Permutation::Permutation(uint64_t key, uint64_t n) : key_(key), n_(n), half_bits_(1) {
  check(n > 0 && n <= uint64_t(1) << 62, "a permutation has 1 .. 2^62 elements");
  while ((uint64_t(1) << (2 * half_bits_)) < n) ++half_bits_;
}

uint64_t Permutation::operator()(uint64_t index) const {
  const uint64_t mask = (uint64_t(1) << half_bits_) - 1;
  do {
    uint64_t left = index >> half_bits_, right = index & mask;
    for (uint64_t round = 0; round < 8; ++round) {
      const Philox w = philox(key_, right, round);
      const uint64_t mixed = left ^ ((uint64_t(w[1]) << 32 | w[0]) & mask);
      left = right;
      right = mixed;
    }
    index = left << half_bits_ | right;
  } while (index >= n_);  // the domain is at most four times n, so this ends soon
  return index;
}

}  // namespace saslm
