#include "ptx/machine/run/memory.h"

namespace ptx {
namespace {

// Whether all bytes lie in [begin, end); right for addresses near 2^64, too.
inline bool inside(uint64_t address, uint64_t bytes, uint64_t begin, uint64_t end) {
  return address >= begin && address < end && bytes <= end - address;
}

std::string bytes_at(uint32_t bytes, const char* space, uint64_t address) {
  return std::to_string(bytes) + " bytes at " + space + " " + hex(address);
}

void check_aligned(Warp& w, const Instr& in, int lane, uint64_t address, uint32_t bytes, const char* space) {
  if (address % bytes != 0) w.fault(in, lane, "misaligned access of " + bytes_at(bytes, space, address));
}

// Whether all of the bytes have been written and none is on its way: what is usual, eight at a time.
inline bool all_written(const uint8_t* state, uint32_t bytes) {
  constexpr uint64_t kEightWritten = 0x0101010101010101u * kWritten;
  for (; bytes >= 8; bytes -= 8, state += 8) {
    uint64_t eight;
    std::memcpy(&eight, state, 8);
    if (eight != kEightWritten) return false;
  }
  for (uint32_t i = 0; i < bytes; ++i)
    if (state[i] != kWritten) return false;
  return true;
}

void check_written(Warp& w, const Instr& in, int lane, uint64_t address, uint32_t bytes) {
  const uint8_t* const state = &w.block->state[address];
  if (all_written(state, bytes)) return;
  for (uint32_t i = 0; i < bytes; ++i) {
    if (state[i] == kWritten || (in.used_bytes >> (i & 31) & 1) == 0) continue;
    const std::string at = "shared " + hex(address) + " thread " + std::to_string(w.thread(lane));
    if (state[i] == kOnItsWay) {
      w.find(in, "READ of a cp.async on its way", at);
    } else if (w.settings().uninitialised) {
      w.find(in, "UNINITIALISED shared memory read", at);
    }
    return;
  }
}

void mark_written(Warp& w, const Instr& in, uint64_t address, uint32_t bytes) {
  uint8_t* const state = &w.block->state[address];
  if (all_written(state, bytes)) return;
  for (uint32_t i = 0; i < bytes; ++i) {
    if (state[i] == kOnItsWay) w.find(in, "WRITE into a cp.async on its way", "shared " + hex(address));
    state[i] = kWritten;
  }
}

bool in_shared(const Block& b, uint64_t address, uint32_t bytes) {
  return inside(address, bytes, kSharedBase, b.static_end) ||
         (b.k->uses_dynamic_shared && inside(address, bytes, kDynamicShared, b.shared_end));
}

uint8_t* local_memory(Warp& w, const Instr& in, int lane, uint64_t address, uint32_t bytes) {
  check_aligned(w, in, lane, address, bytes, "local");
  if (!inside(address, bytes, 0, w.local_bytes))
    w.fault(in, lane, "outside of local memory: " + hex(address));
  return &w.local[size_t(lane) * w.local_bytes + address];
}

uint8_t* param_memory(Warp& w, const Instr& in, int lane, uint64_t address, uint32_t bytes, Access access) {
  if ((address & kParamOfFunc) != 0)
    return local_memory(w, in, lane, address & ~uint64_t(kParamOfFunc), bytes);
  if (!inside(address, bytes, 0, w.k->param_bytes) || access != Access::read)
    w.fault(in, lane, "parameter access outside");
  return const_cast<uint8_t*>(w.block->params + address);
}

// Finds the allocation that holds the access, and notes it in the instruction.
void look_up(Warp& w, const Instr& in, int lane, uint64_t address, uint32_t bytes, Access access) {
  const Allocations& all = w.machine().allocations;
  const auto* range = all.find(address, bytes);
  if (range == nullptr)
    w.fault(in, lane,
            std::string("out of bounds: global ") + (access == Access::write ? "write" : "read") + " of " +
                std::to_string(bytes) + " bytes at " + hex(address) + all.nearest(address));
  if (access != Access::read && !range->writable) w.fault(in, lane, "write to memory that is read only");
  in.range_begin = range->begin;
  in.range_end = range->end;
}

}  // namespace

void Warp::fault(const Instr& in, int lane, const std::string& why) {
  const auto text = [](const Dim& d) {
    return "(" + std::to_string(d.x) + ", " + std::to_string(d.y) + ", " + std::to_string(d.z) + ")";
  };
  const std::string what = why + " by thread " + std::to_string(thread(lane)) + " of block " +
                           text(block->id) + " of grid " + text(block->grid);
  find(in, "FAULT", what);
  throw Fault(what + " at " + place(*k, in));
}

uint8_t* shared_memory(Warp& w, const Instr& in, int lane, uint64_t address, uint32_t bytes, Access access) {
  Block& b = *w.block;
  check_aligned(w, in, lane, address, bytes, "shared");
  if (!in_shared(b, address, bytes))
    w.fault(in, lane,
            "shared " + hex(address) + " (" + std::to_string(bytes) + " bytes) is outside: static " +
                hex(kSharedBase) + ".." + hex(b.static_end) + ", dynamic " + hex(kDynamicShared) + ".." +
                hex(b.shared_end));
  if (access != Access::atomic && w.settings().race)
    note_shared(w, in, lane, uint32_t(address), bytes, access == Access::write);
  if (access != Access::write) check_written(w, in, lane, address, bytes);
  if (access != Access::read) mark_written(w, in, address, bytes);
  return &b.shared[address];
}

uint8_t* global_bytes(Warp& w, const Instr& in, int lane, uint64_t address, uint32_t bytes, Access access) {
  if (w.settings().any_memory) return reinterpret_cast<uint8_t*>(address);
  if (!inside(address, bytes, in.range_begin, in.range_end)) look_up(w, in, lane, address, bytes, access);
  if (access != Access::atomic && w.settings().global_race)
    w.machine().races.note(w, in, lane, address, bytes, access == Access::write, in.range_begin,
                           in.range_end);
  return reinterpret_cast<uint8_t*>(address);
}

uint8_t* global_memory(Warp& w, const Instr& in, int lane, uint64_t address, uint32_t bytes, Access access) {
  check_aligned(w, in, lane, address, bytes, "global");
  return global_bytes(w, in, lane, address, bytes, access);
}

uint64_t shared_offset(const Instr& in, uint64_t address) {
  if (in.address.width == 4) return uint32_t(address);
  return address >> 60 == kSharedWindow >> 60 ? address - kSharedWindow : address;
}

uint8_t* memory(Warp& w, const Instr& in, int lane, uint64_t address, uint32_t bytes, Access access) {
  switch (in.space) {
    case Space::shared:
      return shared_memory(w, in, lane, in.address.width == 4 ? uint32_t(address) : address, bytes, access);
    case Space::global:
    case Space::constant:
      return global_memory(w, in, lane, address, bytes, access);
    case Space::local:
      return local_memory(w, in, lane, address, bytes);
    case Space::param:
      return param_memory(w, in, lane, address, bytes, access);
    case Space::generic:
      break;
  }
  if (address >> 60 == kSharedWindow >> 60)
    return shared_memory(w, in, lane, address - kSharedWindow, bytes, access);
  if (address >> 60 == kLocalWindow >> 60) return local_memory(w, in, lane, address - kLocalWindow, bytes);
  return global_memory(w, in, lane, address, bytes, access);
}

Addresses addresses(Warp& w, const Instr& in) {
  Addresses a;
  if (in.address.width == 8) {
    const auto* r = w.at<uint64_t>(in.address);
    for (int l = 0; l < kWarp; ++l) a.of[l] = r[l] + uint64_t(in.imm);
  } else {
    const auto* r = w.at<uint32_t>(in.address);
    for (int l = 0; l < kWarp; ++l) a.of[l] = uint32_t(r[l] + uint32_t(in.imm));
  }
  return a;
}

}  // namespace ptx
