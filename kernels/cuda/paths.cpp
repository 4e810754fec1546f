#include "kernels/cuda/paths.h"

#include <algorithm>

#include "core/bf16.h"
#include "core/error.h"
#include "kernels/cuda/attention_tiles.h"
#include "kernels/cuda/sas_general.h"
#include "kernels/cuda/sas_tiles.h"
#include "kernels/cuda/sas_wide.h"

namespace saslm::cuda {
namespace {

struct Known {
  Variant variant;
  const char* name;
  bool slow;
};
constexpr std::array<Known, kVariants> kKnown{{
    {Variant::attention_fwd_tile, "attention_fwd.tile", false},
    {Variant::attention_fwd_any_width, "attention_fwd.any_width", true},
    {Variant::attention_bwd_tile, "attention_bwd.tile", false},
    {Variant::attention_bwd_narrow_tile, "attention_bwd.narrow_tile", false},
    {Variant::attention_bwd_any_width, "attention_bwd.any_width", true},
    {Variant::sas_fwd_tile, "sas_fwd.tile", false},
    {Variant::sas_fwd_wide, "sas_fwd.wide", false},
    {Variant::sas_fwd_general, "sas_fwd.general", true},
    {Variant::sas_bwd_tile_4, "sas_bwd.tile_4", false},
    {Variant::sas_bwd_tile_2, "sas_bwd.tile_2", false},
    {Variant::sas_bwd_wide, "sas_bwd.wide", false},
    {Variant::sas_bwd_general, "sas_bwd.general", true},
}};

std::string operation_of(Variant v) {
  const std::string name = name_of(v);
  return name.substr(0, name.find('.'));
}

std::string number(int64_t n) {
  return std::to_string(n);
}

// Every row begins and ends on so many bytes.
template <int kBytes, class... T>
bool aligned(const Heads<T>&... x) {
  const auto one = [](const auto& heads) {
    constexpr int64_t n = kBytes / int64_t(sizeof(bf16));
    return reinterpret_cast<uintptr_t>(heads.data) % kBytes == 0 && heads.D % n == 0 &&
           heads.b_stride % n == 0 && heads.t_stride % n == 0 && heads.h_stride % n == 0;
  };
  return (one(x) && ...);
}
bool can_be_tiles(const AttentionFwd<bf16>& a) {
  return aligned<4>(a.q, a.k, a.v, a.o);
}
bool can_be_tiles(const AttentionBwd<bf16>& a) {
  return aligned<4>(a.q, a.k, a.v, a.dy, a.dq, a.dk, a.dv);
}

std::string words(const AttentionWidths& w) {
  return "(" + number(w.E) + ", " + number(w.D) + ")";
}
std::string words(const SasSize& z) {
  return "up to " + number(z.in) + " heads to " + number(z.mid) + ", width " + number(z.d) +
         (z.e > 0 ? " to " + number(z.e) : "");
}

// Of what keeps a call from its tile: the type, or how much shared memory the smallest tile wants.
std::string type_or_memory(const simt::DeviceLimits& card, bool is_bf16, size_t wanted) {
  if (!is_bf16) return "fp32 has no kernel on tensor cores; runtime.precision bf16 has";
  return "its tile wants " + number(int64_t(wanted)) + " bytes of shared memory a block, this card has " +
         number(int64_t(card.shared_bytes));
}

template <class T, class A>
std::string why_attention(const simt::DeviceLimits& card, const A& a, size_t wanted) {
  if constexpr (std::is_same_v<T, bf16>) {
    const std::string is = "widths " + words(AttentionWidths{int(a.q.D), int(a.v.D)}) + ": ";
    if (attention_widths_index(a.q.D, a.v.D) == kAttentionWidths.size())
      return is + "no tile is wider than " + words(kAttentionWidths.back()) + "; take narrower heads";
    if (!can_be_tiles(a)) return is + "tiles want even widths";
    return is + type_or_memory(card, true, wanted) + "; take narrower heads";
  } else {
    return type_or_memory(card, false, 0);
  }
}

template <class T>
std::string why_sas(const simt::DeviceLimits& card, const SasShape& s, bool backward) {
  if (!std::is_same_v<T, bf16>) return type_or_memory(card, false, 0);
  const std::string is = number(s.H) + " heads to " + number(s.Hs) + ", width " + number(s.D) + " to " +
                         number(s.E) + ", " + number(s.K) + " taps: ";
  if (!s.convs) return is + "features alone are simulated without tensor cores";
  if (!SasWideLayout::takes(s)) return is + "tensor cores want a sim_head_dim that is a multiple of 16";
  return is + type_or_memory(card, true, SasWideLayout(s, backward).bytes(1)) +
         "; take fewer or narrower simulated heads";
}
// The kernel for sizes of run time, where a token fits.
void add_wide(Paths& paths, const simt::DeviceLimits& card, const SasShape& s, bool backward) {
  if (!SasWideLayout::takes(s)) return;
  const SasWideLayout layout(s, backward);
  if (const int tokens = layout.tokens_within(card.shared_bytes); tokens > 0)
    paths.add({backward ? Variant::sas_bwd_wide : Variant::sas_fwd_wide, -1, layout.bytes(tokens)});
}

template <class A>
size_t any_width_bytes(const A& a) {
  return attention_any_width_shared_bytes(a.q.D, a.v.D);
}

}  // namespace

const char* name_of(Variant v) {
  return kKnown[size_t(v)].name;
}
std::optional<Variant> variant_of(const std::string& name) {
  for (const Known& known : kKnown)
    if (name == known.name) return known.variant;
  return {};
}
uint32_t only(Variant v) {
  uint32_t others = 0;
  for (const Known& known : kKnown)
    if (known.variant != v && operation_of(known.variant) == operation_of(v)) others |= bit_of(known.variant);
  return others;
}

bool Path::slow() const {
  return kKnown[size_t(variant)].slow;
}

std::string Path::text() const {
  switch (variant) {
    case Variant::attention_fwd_any_width:
    case Variant::attention_bwd_any_width:
      return "any width, without tensor cores";
    case Variant::sas_fwd_general:
    case Variant::sas_bwd_general:
      return "any sizes, without tensor cores";
    case Variant::attention_fwd_tile:
    case Variant::attention_bwd_tile:
      return "tile " + words(kAttentionWidths[size_t(size)]);
    case Variant::attention_bwd_narrow_tile:
      return "tile " + words(kAttentionWidths[size_t(size)]) + " of half the keys";
    case Variant::sas_fwd_tile:
      return "tile of " + words(kSasSizes[size_t(size)]);
    case Variant::sas_fwd_wide:
    case Variant::sas_bwd_wide:
      return "tensor cores, sizes of run time";
    case Variant::sas_bwd_tile_4:
    case Variant::sas_bwd_tile_2:
      break;
  }
  return "tile of " + words(kSasSizes[size_t(size)]) + ", " +
         (variant == Variant::sas_bwd_tile_4 ? "4 tokens at a time" : "2 tokens at a time");
}

const Path& choose(const Paths& paths, Stream stream) {
  for (const Path& path : paths)
    if ((stream.avoided & bit_of(path.variant)) == 0) return path;
  throw MachineError(operation_of(paths.last().variant) +
                     ": every kernel that could compute this call is to be avoided");
}

template <class T>
Paths paths_of(const simt::DeviceLimits& card, const AttentionFwd<T>& a) {
  Paths paths;
  if constexpr (std::is_same_v<T, bf16>) {
    const size_t size = attention_widths_index(a.q.D, a.v.D);
    if (size < kAttentionWidths.size() && can_be_tiles(a)) {
      const size_t wanted = attention_fwd_shared_bytes(kAttentionWidths[size].E, kAttentionWidths[size].D);
      if (wanted <= card.shared_bytes) paths.add({Variant::attention_fwd_tile, int(size), wanted});
    }
  }
  paths.add({Variant::attention_fwd_any_width, -1, any_width_bytes(a)});
  return paths;
}

template <class T>
Paths paths_of(const simt::DeviceLimits& card, const AttentionBwd<T>& a) {
  Paths paths;
  if constexpr (std::is_same_v<T, bf16>) {
    const size_t size = attention_widths_index(a.q.D, a.v.D);
    if (size < kAttentionWidths.size() && can_be_tiles(a)) {
      const auto add = [&](Variant variant, int64_t keys) {
        const AttentionWidths w = kAttentionWidths[size];
        const size_t wanted = attention_bwd_shared_bytes(w.E, w.D, keys);
        const bool loads = attention_bwd_takes_words(w, keys) || aligned<16>(a.q, a.k, a.v, a.dy);
        if (loads && wanted <= card.shared_bytes) paths.add({variant, int(size), wanted});
      };
      add(Variant::attention_bwd_tile, kAttentionBwdKeys);
      if (attention_bwd_has_narrow(kAttentionWidths[size]))
        add(Variant::attention_bwd_narrow_tile, kAttentionBwdNarrowKeys);
    }
  }
  paths.add({Variant::attention_bwd_any_width, -1, any_width_bytes(a)});
  return paths;
}

template <class T>
Paths paths_of(const simt::DeviceLimits& card, const SasFwd<T>& a) {
  Paths paths;
  const SasShape shape = sas_shape(a.x, a.y, a.w);
  const size_t size = sas_size_for(shape);
  if (std::is_same_v<T, bf16> && size < kSasSizes.size())
    if (const int warps = sas_fwd_warps(kSasSizes[size], card.shared_bytes); warps > 0)
      paths.add({Variant::sas_fwd_tile, int(size), sas_fwd_shared_bytes(kSasSizes[size], warps)});
  if (std::is_same_v<T, bf16>) add_wide(paths, card, shape, false);
  paths.add({Variant::sas_fwd_general, -1, SasGeneralLayout(shape).least_bytes(false)});
  return paths;
}

template <class T>
Paths paths_of(const simt::DeviceLimits& card, const SasBwd<T>& a) {
  Paths paths;
  const SasShape shape = sas_shape(a.x, a.dy, a.w);
  const size_t size = sas_size_for(shape);
  if (std::is_same_v<T, bf16> && size < kSasSizes.size())
    for (const int tokens : {4, 2}) {
      const size_t wanted = sas_bwd_shared_bytes(kSasSizes[size], tokens);
      if (sas_bwd_takes(kSasSizes[size], tokens) && wanted <= card.shared_bytes)
        paths.add({tokens == 4 ? Variant::sas_bwd_tile_4 : Variant::sas_bwd_tile_2, int(size), wanted});
    }
  if (std::is_same_v<T, bf16>) add_wide(paths, card, shape, true);
  paths.add({Variant::sas_bwd_general, -1, SasGeneralLayout(shape).least_bytes(true)});
  return paths;
}

template <class T>
std::string why_slow(const simt::DeviceLimits& card, const AttentionFwd<T>& a) {
  if (!paths_of(card, a)[0].slow()) return "";
  const AttentionWidths w =
      kAttentionWidths[std::min(attention_widths_index(a.q.D, a.v.D), kAttentionWidths.size() - 1)];
  return why_attention<T>(card, a, attention_fwd_shared_bytes(w.E, w.D));
}
template <class T>
std::string why_slow(const simt::DeviceLimits& card, const AttentionBwd<T>& a) {
  if (!paths_of(card, a)[0].slow()) return "";
  const AttentionWidths w =
      kAttentionWidths[std::min(attention_widths_index(a.q.D, a.v.D), kAttentionWidths.size() - 1)];
  const int64_t keys = attention_bwd_has_narrow(w) ? kAttentionBwdNarrowKeys : kAttentionBwdKeys;
  return why_attention<T>(card, a, attention_bwd_shared_bytes(w.E, w.D, keys));
}
template <class T>
std::string why_slow(const simt::DeviceLimits& card, const SasFwd<T>& a) {
  if (!paths_of(card, a)[0].slow()) return "";
  return why_sas<T>(card, sas_shape(a.x, a.y, a.w), false);
}
template <class T>
std::string why_slow(const simt::DeviceLimits& card, const SasBwd<T>& a) {
  if (!paths_of(card, a)[0].slow()) return "";
  return why_sas<T>(card, sas_shape(a.x, a.dy, a.w), true);
}

template Paths paths_of(const simt::DeviceLimits&, const AttentionFwd<bf16>&);
template Paths paths_of(const simt::DeviceLimits&, const AttentionFwd<float>&);
template Paths paths_of(const simt::DeviceLimits&, const AttentionBwd<bf16>&);
template Paths paths_of(const simt::DeviceLimits&, const AttentionBwd<float>&);
template Paths paths_of(const simt::DeviceLimits&, const SasFwd<bf16>&);
template Paths paths_of(const simt::DeviceLimits&, const SasFwd<float>&);
template Paths paths_of(const simt::DeviceLimits&, const SasBwd<bf16>&);
template Paths paths_of(const simt::DeviceLimits&, const SasBwd<float>&);
template std::string why_slow(const simt::DeviceLimits&, const AttentionFwd<bf16>&);
template std::string why_slow(const simt::DeviceLimits&, const AttentionFwd<float>&);
template std::string why_slow(const simt::DeviceLimits&, const AttentionBwd<bf16>&);
template std::string why_slow(const simt::DeviceLimits&, const AttentionBwd<float>&);
template std::string why_slow(const simt::DeviceLimits&, const SasFwd<bf16>&);
template std::string why_slow(const simt::DeviceLimits&, const SasFwd<float>&);
template std::string why_slow(const simt::DeviceLimits&, const SasBwd<bf16>&);
template std::string why_slow(const simt::DeviceLimits&, const SasBwd<float>&);

}  // namespace saslm::cuda
