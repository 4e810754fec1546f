#include "ptx/machine/run/races.h"

#include <algorithm>

#include "ptx/machine/run/machine.h"

namespace ptx {
namespace {

constexpr uint64_t kShadowLimit = uint64_t(48) << 20;

// Whether what the stamp tells of has happened before the lane's next access.
inline bool ordered(const Warp& w, int lane, const Stamp& s) {
  if (s.thread == Stamp::kNobody || s.thread == w.thread(lane)) return true;
  const int warp = s.thread / kWarp;
  const uint32_t known = w.clock[size_t(warp)];
  return warp == w.index ? s.clock < known : s.clock <= known;
}

Stamp stamp_of(const Warp& w, const Instr& in, int lane) {
  return {uint16_t(w.thread(lane)), w.now(), w.k->index_of(in)};
}

void tell(Warp& w, const Instr& in, int lane, const char* kind, uint32_t address, const Stamp& other) {
  w.find(in, kind,
         "shared " + hex(address) + ": thread " + std::to_string(w.thread(lane)) + " and thread " +
             std::to_string(other.thread) + " at " + place(*w.k, w.k->code[size_t(other.instruction)]));
}

}  // namespace

void join(Clock& to, const Clock& from) {
  if (to.size() < from.size()) to.resize(from.size(), 0);
  for (size_t i = 0; i < from.size(); ++i) to[i] = std::max(to[i], from[i]);
}

void note_shared(Warp& w, const Instr& in, int lane, uint32_t address, uint32_t bytes, bool write) {
  const Stamp now = stamp_of(w, in, lane);
  SharedCell* const cells = w.block->cells.data();
  for (uint32_t c = address / 2, end = (address + bytes + 1) / 2; c < end; ++c) {
    SharedCell& cell = cells[c];
    if (!ordered(w, lane, cell.write))
      tell(w, in, lane, write ? "RACE write after write" : "RACE read after write", c * 2, cell.write);
    if (write) {
      if (!ordered(w, lane, cell.read)) {
        tell(w, in, lane, "RACE write after read", c * 2, cell.read);
      } else if (!ordered(w, lane, cell.other_read)) {
        tell(w, in, lane, "RACE write after read", c * 2, cell.other_read);
      }
      cell.write = now;
    } else {
      if (cell.read.thread != Stamp::kNobody && cell.read.thread / kWarp != w.index)
        cell.other_read = cell.read;
      cell.read = now;
    }
  }
}

void GlobalRaces::forget(const void* allocation) {
  const auto it = shadows_.find(reinterpret_cast<uint64_t>(allocation));
  if (it != shadows_.end()) it->second.end = 0;
}

GlobalRaces::Shadow& GlobalRaces::shadow(uint64_t begin, uint64_t end) {
  if (last_ == nullptr || last_->begin != begin || last_->end != end) {
    Shadow& s = shadows_[begin];
    if (s.end != end) {
      const size_t cells = size_t((end - begin + 1) / 2 + 1);
      s.begin = begin, s.end = end;
      s.write.assign(cells, {});
      s.read.assign(cells, {});
    }
    last_ = &s;
  }
  return *last_;
}

void GlobalRaces::tell(Warp& w, const Instr& in, int lane, const BlockStamp& s, const char* what,
                       uint64_t byte, uint64_t size) {
  const char* const where = s.block == block_ ? "GLOBAL RACE in a block: " : "GLOBAL RACE between blocks: ";
  w.find(in, std::string(where) + what,
         "byte " + std::to_string(byte) + " of a range of " + std::to_string(size) + "; blocks " +
             std::to_string(s.block - first_of_launch_) + " and " +
             std::to_string(block_ - first_of_launch_) + ", threads " + std::to_string(s.stamp.thread) +
             " and " + std::to_string(w.thread(lane)) + "; the other at " +
             place(*w.k, w.k->code[size_t(s.stamp.instruction)]));
}

void GlobalRaces::note(Warp& w, const Instr& in, int lane, uint64_t address, uint32_t bytes, bool write,
                       uint64_t begin, uint64_t end) {
  if (end - begin > kShadowLimit) return;
  Shadow& s = shadow(begin, end);
  const BlockStamp now{block_, stamp_of(w, in, lane)};
  const auto races = [&](const BlockStamp& other) {
    return other.block >= first_of_launch_ && (other.block != block_ || !ordered(w, lane, other.stamp));
  };
  const uint64_t first = address - begin;
  for (uint64_t c = first / 2, behind = (first + bytes + 1) / 2; c < behind; ++c) {
    if (races(s.write[c]))
      tell(w, in, lane, s.write[c], write ? "write after write" : "read after write", first, end - begin);
    if (write && races(s.read[c])) tell(w, in, lane, s.read[c], "write after read", first, end - begin);
    (write ? s.write[c] : s.read[c]) = now;
  }
}

}  // namespace ptx
