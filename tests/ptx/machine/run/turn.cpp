// A warp's turn: divergence, reconvergence, and who waits for whom within a warp.
//
// The group of lanes with the least program counter runs first and joins others where they meet. A .sync
// instruction waits until all lanes that its mask names have come to it (without a mask: all live ones);
// lanes that can never meet are a fault. Lanes that have exited are no part of it, but naming them is a
// finding.
#include <algorithm>
#include <climits>

#include "ptx/machine/run/machine.h"

namespace ptx {
namespace {

template <class F>
void each_lane(uint32_t lanes, F f) {
  for (; lanes != 0; lanes &= lanes - 1) f(__builtin_ctz(lanes));
}

class Turn {
 public:
  Turn(Warp& warp, uint64_t steps) : w_(warp), k_(*warp.k), code_(k_.code.data()), turn_(steps) {}
  void run();

 private:
  enum After { go_on, regroup, stop };  // with the same lanes; choose lanes anew; end the turn

  void choose();
  After group();
  After step(const Instr& in, uint32_t lanes);
  After branch(const Instr& in, uint32_t lanes);
  After exit(uint32_t lanes);
  After call(const Instr& in, uint32_t lanes);
  void take_results(const Instr& in);
  After ret(const Instr& in, uint32_t lanes);
  After sync(const Instr& in, uint32_t lanes);
  After sync_one_of_several(const Instr& in, uint32_t lanes, uint32_t joined, uint32_t same, uint32_t need);
  After barrier(const Instr& in, uint32_t lanes);
  After wait_here(uint32_t lanes);
  uint32_t check_masks(const Instr& in, uint32_t joined, uint32_t need);

  void set_pc(uint32_t lanes, int at) {
    each_lane(lanes, [&](int l) { w_.pc[l] = at; });
  }
  uint32_t with_waiting(uint32_t lanes) const {  // those that wait at this instruction join them
    each_lane(w_.blocked, [&](int l) { lanes |= uint32_t(w_.pc[l] == pc_) << l; });
    return lanes;
  }
  uint8_t* local(int lane) { return &w_.local[size_t(lane) * w_.local_bytes]; }

  Warp& w_;
  const Kernel& k_;
  const Instr* const code_;
  const uint64_t turn_;
  uint64_t steps_ = 0;
  uint32_t current_ = 0;  // lanes that run
  int pc_ = 0;            // theirs
  int next_ = 0;          // the least of the others'
};

void Turn::run() {
  const uint64_t before = w_.steps;
  After after = regroup;
  while (after != stop && w_.live != 0) {
    choose();
    after = group();
    w_.steps = before + steps_;
  }
  if (w_.live == 0) w_.state = Warp::State::done;
}

void Turn::choose() {
  const uint32_t candidates = w_.live & ~w_.blocked;
  if (candidates == 0)
    throw Fault(
        "lanes of a warp wait at different synchronising instructions, or for lanes that have exited: " +
        place(k_, code_[w_.pc[__builtin_ctz(w_.blocked)]]) + ", live " + std::to_string(w_.live) +
        ", blocked " + std::to_string(w_.blocked));
  pc_ = INT_MAX;
  each_lane(candidates, [&](int l) { pc_ = std::min(pc_, w_.pc[l]); });
  current_ = 0;
  next_ = INT_MAX;
  each_lane(candidates, [&](int l) {
    if (w_.pc[l] == pc_) {
      current_ |= 1u << l;
    } else {
      next_ = std::min(next_, w_.pc[l]);
    }
  });
}

// Runs the chosen lanes until they part, meet others, wait, or the turn is over.
Turn::After Turn::group() {
  const uint64_t limit = w_.settings().max_steps;
  const uint64_t before = w_.steps - steps_;
  After after = go_on;
  while (after == go_on) {
    const Instr& in = code_[pc_];
    uint32_t lanes = current_;
    if (in.guard >= 0) {
      const uint32_t p = *reinterpret_cast<const uint32_t*>(w_.registers + in.guard);
      lanes &= in.guard_not ? ~p : p;
    }
    ++in.executed;
    ++steps_;
    after = step(in, lanes);
    if (after == go_on && (pc_ >= next_ || steps_ >= turn_)) {
      set_pc(current_, pc_);
      after = regroup;
    }
    if (limit != 0 && before + steps_ > limit)
      throw Fault("more than " + std::to_string(limit) + " steps at " + place(k_, in));
  }
  return after == regroup && steps_ >= turn_ ? stop : after;
}

inline Turn::After Turn::step(const Instr& in, uint32_t lanes) {
  switch (in.kind) {
    case Kind::plain:
      if (lanes != 0) in.execute(w_, in, lanes);
      ++pc_;
      return go_on;
    case Kind::branch:
      return branch(in, lanes);
    case Kind::ret:
      return ret(in, lanes);
    case Kind::poll:
      if (lanes != 0) in.execute(w_, in, lanes);
      set_pc(current_, pc_ + 1);
      return stop;
    case Kind::after_call:
      take_results(in);
      ++pc_;
      return go_on;
    default:
      break;
  }
  if (lanes == 0) {
    pc_ += in.kind == Kind::call ? 2 : 1;  // over after_call
    return go_on;
  }
  switch (in.kind) {
    case Kind::exit:
      return exit(lanes);
    case Kind::call:
      return call(in, lanes);
    case Kind::sync:
      return sync(in, lanes);
    case Kind::barrier:
      return barrier(in, lanes);
    default:
      w_.find(in, "TRAP");
      throw Fault("trap at " + place(k_, in));
  }
}

inline Turn::After Turn::branch(const Instr& in, uint32_t lanes) {
  if (lanes == current_) {
    pc_ = in.target;
  } else if (lanes == 0) {
    ++pc_;
  } else {
    set_pc(lanes, in.target);
    set_pc(current_ & ~lanes, pc_ + 1);
    return regroup;
  }
  return go_on;
}

Turn::After Turn::exit(uint32_t lanes) {
  w_.live &= ~lanes;
  w_.exited |= lanes;
  set_pc(current_ & ~lanes, pc_ + 1);
  return regroup;
}

// Arguments and results are moved between the frames in local memory.
Turn::After Turn::call(const Instr& in, uint32_t lanes) {
  const CallSite& site = k_.calls[size_t(in.extra)];
  const Function& f = k_.functions[size_t(site.callee)];
  auto* const return_to = reinterpret_cast<uint32_t*>(w_.registers + f.return_slot);
  each_lane(lanes, [&](int l) {
    for (const Move& m : site.arguments) std::memmove(local(l) + m.to, local(l) + m.from, m.size);
    return_to[l] = uint32_t(pc_ + 1);
  });
  if (lanes == current_) {
    pc_ = f.begin;
    return go_on;
  }
  set_pc(lanes, f.begin);
  set_pc(current_ & ~lanes, pc_ + 2);
  return regroup;
}

void Turn::take_results(const Instr& in) {
  const CallSite& site = k_.calls[size_t(in.extra)];
  each_lane(current_, [&](int l) {
    for (const Move& m : site.results) std::memmove(local(l) + m.to, local(l) + m.from, m.size);
  });
}

Turn::After Turn::ret(const Instr& in, uint32_t lanes) {
  const Function& f = k_.functions[size_t(in.extra)];
  const auto* const return_to = reinterpret_cast<const uint32_t*>(w_.registers + f.return_slot);
  each_lane(current_, [&](int l) { w_.pc[l] = lanes >> l & 1 ? int(return_to[l]) : pc_ + 1; });
  return regroup;
}

// The lanes wait here for others of their warp; the rest of the group passes.
Turn::After Turn::wait_here(uint32_t lanes) {
  set_pc(lanes, pc_);
  w_.blocked |= lanes;
  set_pc(current_ & ~lanes, pc_ + 1);
  return regroup;
}

// Lanes of `joined` whose mask is `need`; a lane that its own mask does not name is a finding.
uint32_t Turn::check_masks(const Instr& in, uint32_t joined, uint32_t need) {
  const auto* const mask = w_.at<uint32_t>(in.op[Instr::kMask]);
  uint32_t same = 0;
  each_lane(joined, [&](int l) {
    if ((mask[l] >> l & 1) == 0)
      w_.find(in, "SYNC by a lane that its mask does not name", "lane " + std::to_string(l));
    if (mask[l] == need) same |= 1u << l;
  });
  return same;
}

Turn::After Turn::sync(const Instr& in, uint32_t lanes) {
  const uint32_t joined = with_waiting(lanes);
  uint32_t need = w_.live;
  if (in.has_mask) {
    need = w_.at<uint32_t>(in.op[Instr::kMask])[__builtin_ctz(lanes)];
    const uint32_t same = check_masks(in, joined, need);
    if (same != joined) return sync_one_of_several(in, lanes, joined, same, need);
    if ((need & w_.exited) != 0)
      w_.find(in, "SYNC names lanes that have exited", "mask " + std::to_string(need));
    need &= w_.live;  // without lanes that the block does not have, too
  } else if (w_.exited != 0) {
    w_.find(in, "SYNC of all lanes while some have exited");
  }
  if ((joined & need) != need) return wait_here(lanes);
  w_.blocked &= ~joined;
  in.execute(w_, in, joined);
  if (joined == current_) {
    ++pc_;
    return go_on;
  }
  set_pc(joined | current_, pc_ + 1);
  return regroup;
}

// Lanes with different masks are at one instruction: different groups. The first goes on or waits; the others
// that have come now try again.
Turn::After Turn::sync_one_of_several(const Instr& in, uint32_t lanes, uint32_t joined, uint32_t same,
                                      uint32_t need) {
  const uint32_t others = joined & ~same;
  set_pc(others, pc_);
  w_.blocked |= others & ~lanes;
  set_pc(current_ & ~lanes, pc_ + 1);
  if ((same & need) != (need & w_.live)) {
    set_pc(same, pc_);
    w_.blocked |= same;
  } else {
    w_.blocked &= ~same;
    in.execute(w_, in, same);
    set_pc(same, pc_ + 1);
  }
  return regroup;
}

Turn::After Turn::barrier(const Instr& in, uint32_t lanes) {
  const uint32_t joined = with_waiting(lanes);
  if (joined != w_.live) return wait_here(lanes);
  w_.blocked &= ~joined;
  set_pc(w_.live, pc_ + 1);
  return arrive(w_, in) ? stop : regroup;
}

}  // namespace

void run_turn(Warp& w, uint64_t steps) {
  Turn(w, steps).run();
}

}  // namespace ptx
