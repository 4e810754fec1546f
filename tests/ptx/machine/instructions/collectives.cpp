// shfl.sync, vote.sync, redux.sync, elect.sync, bar.warp.sync (PTX ISA, "Parallel Synchronization and
// Communication Instructions", "Data Movement: shfl.sync"). run/turn.cpp gathers the lanes; of them
// bar.warp.sync alone orders memory.
#include <algorithm>

#include "ptx/machine/instructions/decoding.h"
#include "ptx/machine/instructions/lanes.h"

namespace ptx {
namespace {

enum ShuffleMode : uint8_t { kUp, kDown, kButterfly, kIndex };
enum ShuffleOperand { kResult, kValid, kValue, kLane, kClampAndSegment };

struct ShuffleSource {
  int lane;
  bool in_range;
};

// b: lane or distance; c: bits 0..4 the last (up: first) lane of a segment, bits 8..12 what all lanes of it
// share
ShuffleSource shuffle_source(uint8_t mode, int lane, uint32_t b, uint32_t c) {
  const int by = int(b & 31), clamp = int(c & 31), segment = int(c >> 8 & 31);
  const int first = lane & segment, bound = first | (clamp & ~segment);
  switch (mode) {
    case kUp:
      return {lane - by, lane - by >= bound};
    case kDown:
      return {lane + by, lane + by <= bound};
    case kButterfly:
      return {lane ^ by, (lane ^ by) <= bound};
    default:
      return {first | (by & ~segment), (first | (by & ~segment)) <= bound};
  }
}

// shfl.sync d|p, a, b, c, mask. Out of range a lane reads itself.
void run_shuffle(Warp& w, const Instr& in, uint32_t lanes) {
  const auto *a = w.at<uint32_t>(in.op[kValue]), *b = w.at<uint32_t>(in.op[kLane]);
  const auto* const c = w.at<uint32_t>(in.op[kClampAndSegment]);
  uint32_t result[kWarp], valid = 0;
  for_lanes(lanes, [&](int l) {
    const ShuffleSource s = shuffle_source(in.mode, l, b[l], c[l]);
    const int from = s.in_range ? s.lane : l;
    if ((lanes >> from & 1) == 0)
      w.find(in, "SHFL from a lane that does not take part",
             "lane " + std::to_string(l) + " reads lane " + std::to_string(from));
    result[l] = a[from];
    valid |= uint32_t(s.in_range) << l;
  });
  auto* const d = w.at<uint32_t>(in.op[kResult]);
  for_lanes(lanes, [&](int l) { d[l] = result[l]; });
  w.set_predicate(in.op[kValid], lanes, valid);
}

enum VoteMode : uint8_t { kAll, kAny, kUniform, kBallot };

void run_vote(Warp& w, const Instr& in, uint32_t lanes) {
  const uint32_t p = w.predicate(in.op[1]) & lanes;
  if (in.mode == kBallot) {
    for_lanes(lanes, [&](int l) { w.at<uint32_t>(in.op[0])[l] = p; });
    return;
  }
  const bool all = p == lanes, none = p == 0;
  const bool r = in.mode == kAll ? all : in.mode == kAny ? !none : all || none;
  w.set_predicate(in.op[0], lanes, r ? kAllLanes : 0);
}

enum ReduceMode : uint8_t { kAdd, kMin, kMax, kAnd, kOr, kXor };
constexpr std::string_view kReduceNames[] = {"add", "min", "max", "and", "or", "xor"};

uint32_t reduced(const Instr& in, uint32_t a, uint32_t b) {
  const auto sa = int32_t(a), sb = int32_t(b);
  switch (in.mode) {
    case kAdd:
      return a + b;
    case kMin:
      return in.is_signed ? uint32_t(std::min(sa, sb)) : std::min(a, b);
    case kMax:
      return in.is_signed ? uint32_t(std::max(sa, sb)) : std::max(a, b);
    case kAnd:
      return a & b;
    case kOr:
      return a | b;
    default:
      return a ^ b;
  }
}

void run_reduce(Warp& w, const Instr& in, uint32_t lanes) {
  const auto* const a = w.at<uint32_t>(in.op[1]);
  uint32_t r = a[__builtin_ctz(lanes)];
  for_lanes(lanes & (lanes - 1), [&](int l) { r = reduced(in, r, a[l]); });
  for_lanes(lanes, [&](int l) { w.at<uint32_t>(in.op[0])[l] = r; });
}

// elect.sync d|p, mask: the first lane
void run_elect(Warp& w, const Instr& in, uint32_t lanes) {
  const int leader = __builtin_ctz(lanes);
  w.set_predicate(in.op[1], lanes, 1u << leader);
  if (in.op[0].width == 0) return;
  for_lanes(lanes, [&](int l) { w.at<uint32_t>(in.op[0])[l] = uint32_t(leader); });
}

void run_warp_sync(Warp& w, const Instr&, uint32_t) {
  w.tick();
}

void decode_collective(Decoding& d, size_t mask_argument, Execute execute) {
  d.in.kind = Kind::sync;
  d.in.has_mask = true;
  d.source(mask_argument, 4, Instr::kMask);
  d.in.execute = execute;
}

void decode_shuffle(Decoding& d) {
  d.refuse_unless(d.s.parts.size() == 4 && d.s.parts[1] == "sync");
  const auto mode = d.s.parts[2];
  d.refuse_unless(mode == "up" || mode == "down" || mode == "bfly" || mode == "idx");
  d.in.mode = mode == "up" ? kUp : mode == "down" ? kDown : mode == "bfly" ? kButterfly : kIndex;
  d.in.counted = Class::shuffle;
  d.destination(0, 4, kResult);
  d.second_destination(d.arg(0).second, kValid);
  d.source(1, 4, kValue);
  d.source(2, 4, kLane);
  d.source(3, 4, kClampAndSegment);
  decode_collective(d, 4, run_shuffle);
}

void decode_vote(Decoding& d) {
  d.refuse_unless(d.s.parts.size() == 4 && d.s.parts[1] == "sync");
  const auto mode = d.s.parts[2];
  d.refuse_unless(mode == "all" || mode == "any" || mode == "uni" || mode == "ballot");
  d.in.mode = mode == "all" ? kAll : mode == "any" ? kAny : mode == "uni" ? kUniform : kBallot;
  d.in.counted = Class::shuffle;
  d.destination(0, d.in.mode == kBallot ? 4 : 1);
  d.source(1, 1, 1);
  decode_collective(d, 2, run_vote);
}

void decode_reduce(Decoding& d) {
  d.refuse_unless(d.s.parts.size() == 4 && d.s.parts[1] == "sync" && bits_of(d.type) == 32 && !d.is_float());
  const auto* const name = std::find(std::begin(kReduceNames), std::end(kReduceNames), d.s.parts[2]);
  d.refuse_unless(name != std::end(kReduceNames));
  d.in.mode = uint8_t(name - std::begin(kReduceNames));
  d.in.is_signed = d.type == "s32";
  d.in.counted = Class::shuffle;
  d.destination(0, 4);
  d.source(1, 4, 1);
  decode_collective(d, 2, run_reduce);
}

void decode_elect(Decoding& d) {
  d.in.counted = Class::other;
  if (d.arg(0).type == Argument::word && d.arg(0).text != "_") d.destination(0, 4);
  d.second_destination(d.arg(0).second, 1);
  decode_collective(d, 1, run_elect);
}

}  // namespace

void decode_warp_sync(Decoding& d) {
  d.in.counted = Class::warp_sync;
  decode_collective(d, 0, run_warp_sync);
}

void add_collectives(Decoders& all) {
  all["shfl"] = decode_shuffle;
  all["vote"] = decode_vote;
  all["redux"] = decode_reduce;
  all["elect"] = decode_elect;
}

}  // namespace ptx
