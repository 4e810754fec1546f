// cp.async.bulk and cp.async.bulk.tensor.2d into shared memory, completed at an mbarrier (PTX ISA, "Bulk
// copy", "Tensor copy"). Done at once when issued: that the mbarrier is waited for before the data is read is
// not checked.
#include <cstring>

#include "ptx/machine/instructions/decoding.h"
#include "ptx/machine/instructions/lanes.h"
#include "ptx/machine/instructions/mbarriers.h"
#include "ptx/machine/instructions/tensor_map.h"
#include "ptx/machine/run/memory.h"

namespace ptx {
namespace {

void check_source(Warp& w, const Instr& in, int lane, uint64_t from, uint64_t bytes, const char* what) {
  if (!w.settings().any_memory && w.machine().allocations.find(from, bytes) == nullptr)
    w.fault(in, lane, std::string(what) + " out of bounds: " + hex(from));
}

// The order of these writes is the mbarrier's matter: they leave no stamps.
void write_shared(Warp& w, const Instr& in, int lane, uint32_t to, const uint8_t* data, uint32_t bytes) {
  Block& b = *w.block;
  if (to < kSharedBase || to > b.shared_end || bytes > b.shared_end - to)
    w.fault(in, lane, "bulk copy outside of shared memory " + hex(to));
  std::memcpy(&b.shared[to], data, bytes);
  std::memset(&b.state[to], kWritten, bytes);
  if (!w.settings().race) return;
  for (uint32_t c = to / 2; c < (to + bytes) / 2; ++c) b.cells[c] = SharedCell();
}

void complete(Warp& w, const Instr& in, int lane, const Operand& mbarrier, uint32_t bytes) {
  Mbarrier& b = mbarrier_at(w, in, lane, w.value(mbarrier, lane));
  b.bytes -= bytes;
  end_phase_if_complete(b);
}

enum BulkOperand { kSource, kSize, kMbarrier };

void run_bulk(Warp& w, const Instr& in, uint32_t lanes) {
  const Addresses to = addresses(w, in);
  for_lanes(lanes, [&](int l) {
    const uint64_t from = w.at<uint64_t>(in.op[kSource])[l];
    const uint32_t bytes = w.at<uint32_t>(in.op[kSize])[l], target = uint32_t(to.of[l]);
    if (bytes % 16 != 0 || from % 16 != 0 || target % 16 != 0)
      w.fault(in, l, "cp.async.bulk: addresses and size are to be multiples of 16");
    check_source(w, in, l, from, bytes, "cp.async.bulk");
    write_shared(w, in, l, target, reinterpret_cast<const uint8_t*>(from), bytes);
    complete(w, in, l, in.op[kMbarrier], bytes);
  });
}

enum TensorOperand { kMap, kX, kY, kTensorMbarrier };

TensorMap tensor_map(Warp& w, const Instr& in, int lane, uint64_t at) {
  TensorMap map;
  check_source(w, in, lane, at, sizeof map, "tensor map");
  std::memcpy(&map, reinterpret_cast<const void*>(at), sizeof map);
  if (map.magic != kTensorMapMagic || at % 64 != 0) w.fault(in, lane, "no tensor map at " + hex(at));
  return map;
}

// A row of the box; elements outside of the tensor are 0.
std::vector<uint8_t> box_row(Warp& w, const Instr& in, int lane, const TensorMap& map, int64_t x, int64_t y) {
  std::vector<uint8_t> row(size_t(map.box_inner) * map.element_bytes, 0);
  for (uint32_t c = 0; c < map.box_inner; ++c) {
    const int64_t i = x + int64_t(c);
    if (i < 0 || y < 0 || i >= int64_t(map.inner) || y >= int64_t(map.outer)) continue;
    const uint64_t from = map.base + uint64_t(y) * map.pitch + uint64_t(i) * map.element_bytes;
    check_source(w, in, lane, from, map.element_bytes, "tensor copy");
    std::memcpy(&row[size_t(c) * map.element_bytes], reinterpret_cast<const void*>(from), map.element_bytes);
  }
  return row;
}

void run_tensor(Warp& w, const Instr& in, uint32_t lanes) {
  const Addresses to = addresses(w, in);
  for_lanes(lanes, [&](int l) {
    const TensorMap map = tensor_map(w, in, l, w.at<uint64_t>(in.op[kMap])[l]);
    const auto x = int32_t(w.at<uint32_t>(in.op[kX])[l]), y = int32_t(w.at<uint32_t>(in.op[kY])[l]);
    const uint32_t target = uint32_t(to.of[l]), row_bytes = map.box_inner * map.element_bytes;
    if (target % 128 != 0)
      w.fault(in, l, "cp.async.bulk.tensor to an address that is no multiple of 128: " + hex(target));
    for (uint32_t r = 0; r < map.box_outer; ++r) {
      const auto row = box_row(w, in, l, map, x, int64_t(y) + r);
      for (uint32_t c = 0; c < row_bytes; c += 16) {
        uint32_t chunk = target + r * row_bytes + c;
        chunk ^= (chunk >> 7 & map.swizzle) << 4;
        write_shared(w, in, l, chunk, &row[c], 16);
      }
    }
    complete(w, in, l, in.op[kTensorMbarrier], row_bytes * map.box_outer);
  });
}

}  // namespace

bool decode_bulk_copy(Decoding& d) {
  if (!d.s.has("bulk")) return false;
  d.refuse_unless(d.s.parts.size() > 1 && d.s.parts[1] == "async");
  d.in.counted = Class::cp_async;
  d.in.space = Space::shared;
  d.parser.address(d.arg(0), d.in);
  if (d.s.has("tensor")) {  // [to], [map, {x, y}], [mbarrier]
    d.refuse_unless(d.s.has("2d") && d.arg(1).items.size() == 2);
    d.in.op[kMap] = d.register_address(1, Space::param);
    d.in.op[kX] = d.parser.source(d.arg(1).items[0], 4);
    d.in.op[kY] = d.parser.source(d.arg(1).items[1], 4);
    d.in.op[kTensorMbarrier] = d.register_address(2, Space::shared);
    d.in.execute = run_tensor;
  } else {  // [to], [from], size, [mbarrier]
    d.refuse_unless(d.s.op == "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes");
    d.in.op[kSource] = d.register_address(1, Space::global);
    d.source(2, 4, kSize);
    d.in.op[kMbarrier] = d.register_address(3, Space::shared);
    d.in.execute = run_bulk;
  }
  return true;
}

}  // namespace ptx
