// Which kernel computes a call of attention or of the SAS simulation on a GPU. It is decided here alone, from
// the card's shared memory, the type, the sizes and the alignment of the rows: launchers ask, plans and logs
// name what they will be told, and a self-check runs one path against another. Host code without CUDA's
// headers.
//
//   Paths paths = paths_of(card, call)     the kernels that can compute this call on such a card, the fastest
//                                          first. The last one takes any sizes; only where a row or a token
//                                          is larger than the shared memory does its launcher refuse it
//   choose(paths, stream)                  the first that the stream does not avoid: what a launcher runs
//   only(variant)                          what a stream avoids for its calls to take this path
//
// The other operations have one kernel each.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "core/stream.h"
#include "kernels/attention.h"
#include "kernels/sas.h"
#include "kernels/simt/launch_grid.h"

namespace saslm::cuda {

// In each operation the last is slow: without tensor cores, for any sizes, simple; what others are held to.
enum class Variant : uint8_t {
  attention_fwd_tile,
  attention_fwd_any_width,
  attention_bwd_tile,
  attention_bwd_narrow_tile,  // half as many keys at a time: for cards with less shared memory
  attention_bwd_any_width,
  sas_fwd_tile,
  sas_fwd_wide,  // sizes of run time
  sas_fwd_general,
  sas_bwd_tile_4,  // tokens at a time
  sas_bwd_tile_2,
  sas_bwd_wide,
  sas_bwd_general,
};
constexpr int kVariants = int(Variant::sas_bwd_general) + 1;

constexpr uint32_t bit_of(Variant v) {
  return uint32_t{1} << int(v);
}
// Stream::avoided that leaves this variant, and other operations as they are.
uint32_t only(Variant);

// "attention_bwd.tile", for records; none for other text.
const char* name_of(Variant);
std::optional<Variant> variant_of(const std::string& name);

struct Path {
  Variant variant;
  int size = -1;            // in kAttentionWidths or kSasSizes; -1: any
  size_t shared_bytes = 0;  // of a block; of slow paths the least they do with

  bool slow() const;
  std::string text() const;  // "tensor cores, tile (96, 64)"
};

class Paths {
 public:
  void add(const Path& path) { all_[size_t(count_++)] = path; }
  int size() const { return count_; }
  const Path& last() const { return all_[size_t(count_ - 1)]; }
  const Path& operator[](int i) const { return all_[size_t(i)]; }
  const Path* begin() const { return all_.data(); }
  const Path* end() const { return begin() + count_; }

 private:
  std::array<Path, 4> all_{};
  int count_ = 0;
};

template <class T>
Paths paths_of(const simt::DeviceLimits& card, const AttentionFwd<T>& call);
template <class T>
Paths paths_of(const simt::DeviceLimits& card, const AttentionBwd<T>& call);
template <class T>
Paths paths_of(const simt::DeviceLimits& card, const SasFwd<T>& call);
template <class T>
Paths paths_of(const simt::DeviceLimits& card, const SasBwd<T>& call);

// MachineError when the stream avoids them all.
const Path& choose(const Paths& paths, Stream stream);

// Why the fastest path of this call is a slow one, and what would be fast: "head_dim 200: no tile is wider
// than ...". "" when it is not slow.
template <class T>
std::string why_slow(const simt::DeviceLimits& card, const AttentionFwd<T>& call);
template <class T>
std::string why_slow(const simt::DeviceLimits& card, const AttentionBwd<T>& call);
template <class T>
std::string why_slow(const simt::DeviceLimits& card, const SasFwd<T>& call);
template <class T>
std::string why_slow(const simt::DeviceLimits& card, const SasBwd<T>& call);

}  // namespace saslm::cuda
