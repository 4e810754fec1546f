// Reports: what the layer saw, in which kernel, block and thread, at which line, and what to do about it.
#include <cstring>
#include <map>

#include "kernels/simt/machine.h"

namespace saslm::simt {
namespace {

std::string where() {
  const Machine& m = machine();
  if (!m.grid) return "";
  std::string r =
      "\n  in the kernel launched by " + std::string(m.grid->launcher) + " at " + text(m.grid->at);
  r += ", block (" + std::to_string(blockIdx.x) + ", " + std::to_string(blockIdx.y) + ", " +
       std::to_string(blockIdx.z) + ") of " + m.grid->text();
  if (m.current) r += ", " + describe(*m.current);
  return r;
}

std::string compose(const std::string& what, const std::string& advice, const std::string& at) {
  return "SIMT layer: " + what + (at.empty() ? "" : "\n  at " + at) + where() + "\n  " + advice;
}

std::string lane_ranges(unsigned lanes) {
  std::string r;
  for (int l = 0; l < kWarp; ++l) {
    if (!(lanes >> l & 1)) continue;
    int last = l;
    while (last < kWarp - 1 && (lanes >> (last + 1) & 1)) ++last;
    r += (r.empty() ? "" : ",") + std::to_string(l) + (last > l ? "-" + std::to_string(last) : "");
    l = last;
  }
  return r;
}

}  // namespace

std::string text(CallSite at) {
  const char* slash = std::strrchr(at.file, '/');
  return std::string(slash ? slash + 1 : at.file) + ":" + std::to_string(at.line);
}
bool same(CallSite a, CallSite b) {
  return a.line == b.line && std::strcmp(a.file, b.file) == 0;
}

std::string describe(const Thread& t) {
  return "thread " + std::to_string(t.rank) + " (warp " + std::to_string(t.warp) + " lane " +
         std::to_string(t.lane) + ")";
}

std::string describe_waiting() {
  Machine& m = machine();
  std::string r;
  for (int w = 0; w < m.warp_count(); ++w) {
    std::map<std::string, unsigned> lanes_by_state;
    for (int l = 0; l < kWarp && w * kWarp + l < m.thread_count; ++l) {
      const Thread& t = m.threads[w * kWarp + l];
      const std::string state = t.exited ? "exited"
                                : t.waits_in
                                    ? std::string("waits in ") + t.waits_in + " at " + text(t.waits_at)
                                    : "runs";
      lanes_by_state[state] |= 1u << l;
    }
    for (const auto& [state, lanes] : lanes_by_state)
      r += "\n  warp " + std::to_string(w) + " lanes " + lane_ranges(lanes) + ": " + state;
  }
  return r;
}

void fail(const std::string& what, const std::string& advice, CallSite at) {
  throw Fault(compose(what, advice, at.line ? text(at) : ""));
}

void fail_from_hook(const std::string& what, const std::string& advice) {
  Machine& m = machine();
  m.failure = compose(what, advice, "");
  Fiber::switch_to(m.current->fiber, m.caller, true);
  __builtin_unreachable();
}

}  // namespace saslm::simt
