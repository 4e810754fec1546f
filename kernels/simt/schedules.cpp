#include "kernels/simt/schedules.h"

#include "kernels/simt/sanitizer.h"

namespace saslm::simt {

std::vector<LaunchOptions> all_schedules(int random_seeds) {
  std::vector<LaunchOptions> all;
  for (const Copies copies : {Copies::late, Copies::early}) {
    for (const Order order : {Order::forward, Order::reverse, Order::round_robin})
      all.push_back({order, copies, 0});
    for (int seed = 1; seed <= random_seeds; ++seed) all.push_back({Order::random, copies, uint32_t(seed)});
  }
  return all;
}

std::string describe(const LaunchOptions& o) {
  const std::string order = o.order == Order::forward       ? "forward"
                            : o.order == Order::reverse     ? "reverse"
                            : o.order == Order::round_robin ? "round robin"
                                                            : "random (seed " + std::to_string(o.seed) + ")";
  return "schedule " + order + (o.copies == Copies::late ? ", copies late" : ", copies early");
}

Build this_build() {
#ifdef SASLM_SIMT_RACE
  return Build::race;
#else
  return kAsan ? Build::asan : Build::plain;
#endif
}

}  // namespace saslm::simt
