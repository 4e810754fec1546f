// cp.async (PTX ISA, "Data Movement and Conversion Instructions: Asynchronous copy"), of 4, 8 or 16 bytes,
// with src-size.
//
// The source is checked at the issue, and read when the copy is waited for (or at the issue:
// Settings::cp_async_late). The target is poison (0xff) until the wait: reading it, or writing into it, is a
// finding. What is waited for is visible to the lane that issued it; others need a barrier, which the race
// check asks for. Bulk copies: bulk_copies.cpp.
#include <algorithm>

#include "ptx/machine/instructions/decoding.h"
#include "ptx/machine/instructions/lanes.h"
#include "ptx/machine/run/conflicts.h"

namespace ptx {
namespace {

constexpr int kSource = 1, kSourceSize = 2;  // operands
constexpr int64_t kAll = -1;                 // cp.async.wait_all

void finish(Warp& w, int lane, const Copy& c) {
  Block& b = *w.block;
  uint8_t data[16] = {};
  if (!w.settings().cp_async_late) {
    std::memcpy(data, c.early, sizeof data);
  } else if (c.read != 0) {
    const Instr& in = w.k->code[size_t(c.instruction)];
    std::memcpy(data, global_bytes(w, in, lane, c.from, c.read, Access::read), c.read);
  }
  std::memcpy(&b.shared[c.to], data, c.bytes);
  std::fill_n(&b.state[c.to], c.bytes, uint8_t(kWritten));
  if (!w.settings().race) return;
  for (uint32_t cell = c.to / 2; cell < (c.to + c.bytes) / 2; ++cell)
    b.cells[cell].write = {uint16_t(w.thread(lane)), w.now(), c.instruction};
}

void count_copy(Warp& w, const Instr& in, uint32_t lanes, const Addresses& to) {
  Addresses from{};
  uint32_t reading = 0;
  for_lanes(lanes, [&](int l) {
    from.of[l] = w.at<uint64_t>(in.op[kSource])[l] + uint64_t(in.source_imm);
    if (in.op[kSourceSize].width == 0 || w.at<uint32_t>(in.op[kSourceSize])[l] != 0) reading |= 1u << l;
  });
  if (reading != 0) count_global(in, reading, from, in.bytes);
  count_shared(in, lanes, to, in.bytes);
}

void issue(Warp& w, const Instr& in, int l, uint64_t to) {
  uint8_t* const target = shared_memory(w, in, l, to, in.bytes, Access::write);
  const uint64_t from = w.at<uint64_t>(in.op[kSource])[l] + uint64_t(in.source_imm);
  const uint32_t read = in.op[kSourceSize].width != 0 ? w.at<uint32_t>(in.op[kSourceSize])[l] : in.bytes;
  if (read > in.bytes) w.fault(in, l, "cp.async with a src-size of " + std::to_string(read));
  if (from % in.bytes != 0) w.fault(in, l, "cp.async from a misaligned address " + hex(from));
  Copy c{uint32_t(to), from, in.bytes, uint8_t(read), {}, w.k->index_of(in)};
  if (read != 0) {
    const uint8_t* const source = global_bytes(w, in, l, from, read, Access::read);
    if (!w.settings().cp_async_late) std::memcpy(c.early, source, read);
  }
  std::memset(target, 0xff, in.bytes);
  std::fill_n(&w.block->state[c.to], in.bytes, uint8_t(kOnItsWay));
  w.async[l].open.push_back(c);
}

void run_copy(Warp& w, const Instr& in, uint32_t lanes) {
  const Addresses to = addresses(w, in);
  if (w.settings().conflicts) count_copy(w, in, lanes, to);
  for_lanes(lanes, [&](int l) { issue(w, in, l, shared_offset(in, to.of[l])); });
}

void commit(AsyncCopies& a) {
  a.groups.push_back(std::move(a.open));
  a.open.clear();
}

void run_commit(Warp& w, const Instr&, uint32_t lanes) {
  for_lanes(lanes, [&](int l) { commit(w.async[l]); });
}

void run_wait(Warp& w, const Instr& in, uint32_t lanes) {  // imm: how many groups may be left
  const auto left = size_t(std::max<int64_t>(in.imm, 0));
  for_lanes(lanes, [&](int l) {
    AsyncCopies& a = w.async[l];
    if (in.imm == kAll) commit(a);
    while (a.groups.size() > left) {
      for (const Copy& c : a.groups.front()) finish(w, l, c);
      a.groups.pop_front();
    }
  });
}

void decode_copy(Decoding& d) {
  d.refuse_unless(d.s.parts.size() > 2 && d.s.parts[1] == "async");
  d.in.counted = Class::other;
  if (d.s.has("commit_group")) {
    d.in.execute = run_commit;
    return;
  }
  if (d.s.has("wait_group") || d.s.has("wait_all")) {
    d.in.imm = d.s.has("wait_all") ? kAll : int64_t(d.parser.number(d.arg(0)));
    d.in.execute = run_wait;
    return;
  }
  d.in.counted = Class::cp_async;
  d.refuse_unless(d.s.has("ca") || d.s.has("cg"));
  d.in.space = Space::shared;
  d.parser.address(d.arg(0), d.in);
  Instr source;
  source.space = Space::global;
  d.parser.address(d.arg(1), source);
  d.refuse_unless(source.address.width == 8);
  d.in.op[kSource] = source.address;
  d.in.source_imm = source.imm;
  const uint64_t bytes = d.parser.number(d.arg(2));
  d.refuse_unless(bytes == 16 || (d.s.has("ca") && (bytes == 4 || bytes == 8)));
  d.in.bytes = uint8_t(bytes);
  if (d.s.args.size() > 3) d.source(3, 4, kSourceSize);
  d.in.execute = run_copy;
}

}  // namespace

void end_copies(Warp& w) {
  for (AsyncCopies& a : w.async) {
    bool left = !a.open.empty();
    for (const auto& group : a.groups) left |= !group.empty();
    if (left) w.machine().findings.add(*w.k, nullptr, "NOTE cp.async never waited for");
    a = {};
  }
}

void add_copies(Decoders& all) {
  all["cp"] = [](Decoding& d) {
    if (!decode_bulk_copy(d)) decode_copy(d);
  };
}

}  // namespace ptx
