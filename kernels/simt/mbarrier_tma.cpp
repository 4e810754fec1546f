// mbarrier (PTX ISA 9.7.13.15) and the copies that count on one: cp.async.bulk and 2-D tensor copies
// (9.7.9.27) with the 128-byte swizzle. A copy lands when nothing else can run (late), when issued (early),
// or at random; until then its destination is poisoned. Checked: initialisation, over-arrival, overwritten
// barrier objects, alignment, bytes.
//
// It cannot catch a wrong host-side tensor map, nor a missing mbar_fence_init (both sides run block_sync
// after it).
#include <cstdint>

#include "kernels/simt/cpu_sm90.h"
#include "kernels/simt/machine.h"
#include "kernels/simt/swizzle.h"

namespace saslm::simt {
namespace {

uint64_t mark_of(const uint64_t* object) {
  return 0x5eed000000000000u | reinterpret_cast<uintptr_t>(object);
}

MBarrier* find(const uint64_t* object) {
  for (MBarrier& b : machine().mbarriers)
    if (b.object == object) return &b;
  return nullptr;
}

MBarrier& use(uint64_t* object, const char* what, CallSite at) {
  machine().shared.check(object, 8, 8, what, at);
  race::read(object, 8, at);
  MBarrier* b = find(object);
  if (!b)
    fail(std::string(what) + ": the mbarrier is not initialised", "mbar_init by one thread, then block_sync",
         at);
  if (*object != mark_of(object))
    fail(std::string(what) + ": the mbarrier object was overwritten", "nothing else may live in its 8 bytes",
         at);
  return *b;
}

void complete_if_due(MBarrier& b, CallSite at) {
  if (b.pending < 0)
    fail("mbarrier: more arrivals in a phase than it was initialised for",
         "count who arrives, once a phase each", at);
  if (b.pending > 0 || b.bytes != 0) return;
  b.phase ^= 1;
  b.pending = b.expected;
  b.completed = b.arrivals;
  std::fill(b.arrivals.begin(), b.arrivals.end(), 0);
  std::erase_if(b.waiting, [&](const MBarrier::Waiter& w) {
    if (w.parity == b.phase) return false;
    make_ready(w.thread);
    return true;
  });
}

void arrive(uint64_t* object, uint32_t bytes, const char* what, CallSite at) {
  MBarrier& b = use(object, what, at);
  race::release(self().rank, b.arrivals);
  b.bytes += bytes;
  --b.pending;
  complete_if_due(b, at);
  yield_unless_forward();
}

void land_box(const BulkCopy& c) {
  const SharedMemory& shared = machine().shared;
  const uint32_t row_bytes = c.map.box[0] * uint32_t(sizeof(bf16)), start = shared.address(c.dst);
  for (uint32_t row = 0; row < c.map.box[1]; ++row)
    for (uint32_t column = 0; column < c.map.box[0]; ++column) {
      const int64_t x = int64_t{c.x} + column, y = int64_t{c.y} + row;
      const bool inside = uint64_t(x) < c.map.extent[0] && uint64_t(y) < c.map.extent[1];
      char* to = shared.pointer(swizzled(start + row * row_bytes + column * 2, 1));
      if (inside)
        std::memcpy(to, static_cast<const char*>(c.map.base) + uint64_t(y) * c.map.pitch_bytes + x * 2, 2);
      else
        std::memset(to, 0, 2);
    }
}

// No product that is still under way may lose an operand (seen when the operand starts inside the
// destination).
void check_operands_done(const BulkCopy& c, const char* what) {
  const Machine& m = machine();
  for (const Warpgroup& g : m.warpgroups)
    for (const int done : g.executed)
      for (size_t i = size_t(done); i < g.products.size(); ++i)
        for (const uint64_t descriptor : {g.products[i].a, g.products[i].b}) {
          const char* operand = m.shared.pointer(uint32_t(descriptor & 0x3fff) << 4);
          if (operand >= c.dst && operand < c.dst + c.bytes)
            fail(
                std::string(what) + " overwrites an operand of the wgmma issued at " + text(g.products[i].at),
                "wgmma_wait before the buffer is given back", c.at);
        }
}

void issue(const BulkCopy& c, const char* what, size_t alignment) {
  Machine& m = machine();
  m.shared.check(c.dst, c.bytes, alignment, what, c.at);
  use(c.barrier, what, c.at);
  check_operands_done(c, what);
  race::issue_copy(c.dst, c.bytes, c.at);
  std::memset(c.dst, 0xff, c.bytes);
  m.bulk_copies.push_back(c);
  if (m.options.copies == Copies::early) deliver_bulk_copy(m.bulk_copies.size() - 1);
}

}  // namespace

void deliver_bulk_copy(size_t index) {
  Machine& m = machine();
  const BulkCopy c = m.bulk_copies[index];
  m.bulk_copies.erase(m.bulk_copies.begin() + ptrdiff_t(index));
  if (c.tensor)
    land_box(c);
  else
    std::memcpy(c.dst, c.src, c.bytes);
  MBarrier& b = *find(c.barrier);
  race::land_bulk(c.dst, c.bytes, b.arrivals, c.at);
  b.bytes -= int64_t(c.bytes);
  complete_if_due(b, c.at);
}

TensorMap tensor_map_2d(const bf16* base, uint64_t inner, uint64_t outer, uint64_t pitch_bytes,
                        uint32_t box_inner, uint32_t box_outer, CallSite at) {
  if (reinterpret_cast<uintptr_t>(base) % 16 || pitch_bytes % 16)
    fail("tensor_map_2d: base and pitch must be multiples of 16 bytes", "pad the rows", at);
  if (box_inner * sizeof(bf16) != 128 || box_outer == 0 || box_outer > 256)
    fail("tensor_map_2d: a box of " + std::to_string(box_outer) + " x " + std::to_string(box_inner),
         "the 128-byte swizzle wants rows of 64 bf16 here, and at most 256 of them", at);
  return {base, {inner, outer}, pitch_bytes, {box_inner, box_outer}};
}

void mbar_init(uint64_t* object, int arrivals, CallSite at) {
  machine().shared.check(object, 8, 8, "mbar_init", at);
  if (find(object))
    fail("mbar_init: the mbarrier is initialised already", "initialise it once, by one thread", at);
  if (arrivals < 1)
    fail("mbar_init for " + std::to_string(arrivals) + " arrivals", "at least one must arrive", at);
  race::write(object, 8, at);
  *object = mark_of(object);
  machine().mbarriers.push_back({object, 0, arrivals, arrivals, 0, {}, {}, {}});
}
void mbar_fence_init(CallSite) {}
void mbar_arrive(uint64_t* object, CallSite at) {
  arrive(object, 0, "mbar_arrive", at);
}
void mbar_expect_bytes(uint64_t* object, uint32_t bytes, CallSite at) {
  arrive(object, bytes, "mbar_expect_bytes", at);
}
void mbar_wait(uint64_t* object, int parity, CallSite at) {
  const int rank = self().rank;
  parity &= 1;
  while (use(object, "mbar_wait", at).phase == parity) {
    find(object)->waiting.push_back({rank, parity});
    wait(parity ? "mbar_wait(parity 1)" : "mbar_wait(parity 0)", at);
  }
  race::acquire(rank, find(object)->completed);
}

void fence_async(CallSite) {
  race::fence_async(self().rank);
}

void bulk_copy(void* dst, const void* src, uint32_t bytes, uint64_t* barrier, CallSite at) {
  if (bytes == 0 || bytes % 16 || reinterpret_cast<uintptr_t>(src) % 16)
    fail("bulk_copy of " + std::to_string(bytes) + " bytes", "source and size must be multiples of 16 bytes",
         at);
  race::read(src, bytes, at);
  issue({static_cast<char*>(dst), static_cast<const char*>(src), {}, false, 0, 0, bytes, barrier, at},
        "bulk_copy", 16);
}
void tma_load_2d(void* dst, const TensorMap* map, int inner, int outer, uint64_t* barrier, CallSite at) {
  const TensorMap2d box{
      map->base, {map->extent[0], map->extent[1]}, map->pitch_bytes, {map->box[0], map->box[1]}};
  const size_t bytes = size_t{map->box[0]} * map->box[1] * sizeof(bf16);
  issue({static_cast<char*>(dst), nullptr, box, true, inner, outer, bytes, barrier, at}, "tma_load_2d", 1024);
}

}  // namespace saslm::simt
