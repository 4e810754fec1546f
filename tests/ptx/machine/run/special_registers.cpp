// Values of %tid and its like (PTX ISA, "Special Registers"). Clusters have one block; %clock and %smid are
// 0.
#include <algorithm>

#include "ptx/machine/run/machine.h"

namespace ptx {
namespace {

uint32_t coordinate(const Dim& d, char axis) {
  return axis == 'x' ? d.x : axis == 'y' ? d.y : d.z;
}

uint32_t lane_mask(std::string_view which, uint32_t lane) {
  const uint32_t below = (1u << lane) - 1, own = 1u << lane;
  if (which == "lt") return below;
  if (which == "le") return below | own;
  if (which == "gt") return ~(below | own);
  if (which == "ge") return ~below;
  return own;
}

uint32_t value(std::string_view name, const Block& b, const Warp& w, int lane) {
  const char axis = name.back();
  const auto is = [&](std::string_view base) { return name.substr(0, name.find('.')) == base; };
  const auto t = uint32_t(w.thread(lane));
  if (is("%tid")) return coordinate({t % b.size.x, t / b.size.x % b.size.y, t / b.size.x / b.size.y}, axis);
  if (is("%ntid")) return coordinate(b.size, axis);
  if (is("%ctaid") || is("%clusterid")) return coordinate(b.id, axis);
  if (is("%nctaid") || is("%nclusterid")) return coordinate(b.grid, axis);
  if (name == "%laneid") return uint32_t(lane);
  if (name == "%warpid") return uint32_t(w.index);
  if (name.substr(0, 10) == "%lanemask_") return lane_mask(name.substr(10), uint32_t(lane));
  if (name == "%cluster_nctaid.x") return 1;
  if (name == "%dynamic_smem_size") return b.dynamic_bytes;
  return 0;
}

}  // namespace

void set_special_registers(Block& b) {
  for (const Special& s : b.k->specials)
    for (Warp& w : b.warps) {
      auto* const r = reinterpret_cast<uint32_t*>(w.registers + s.offset);
      for (int l = 0; l < kWarp; ++l) r[l] = value(s.name, b, w, l);
    }
}

void set_block_registers(Block& b) {
  for (const Special& s : b.k->specials) {
    if (s.name.substr(0, 6) != "%ctaid" && s.name != "%clusterid.x") continue;
    const uint32_t id = coordinate(b.id, s.name.back());
    for (Warp& w : b.warps) std::fill_n(reinterpret_cast<uint32_t*>(w.registers + s.offset), kWarp, id);
  }
}

}  // namespace ptx
