#include "comm/host_ranks.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>

#include "core/error.h"

namespace saslm {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kLongestGap = 0.5;  // seconds
constexpr double kCheckEvery = 0.1;

}  // namespace

void HostRanks::let_another_say() const {
  another_says_ = true;
  throw PeerError();
}

// Whoever has been waiting for long gives its core away: others compute on it.
void HostRanks::rest(double waited_s) const {
  if (waited_s > 1e-3) std::this_thread::sleep_for(std::chrono::microseconds(100));
}

void HostRanks::give_up(const char* doing, const std::string& awaited) const {
  const std::set<int> waiting = heard_waiting();
  if (!waiting.empty() && *waiting.begin() < rank()) let_another_say();
  std::string silent;
  for (int r = 0; r < size(); ++r)
    if (r != rank() && !waiting.contains(r))
      silent += (silent.empty() ? "rank " : ", rank ") + std::to_string(r);
  throw CommError(said(doing) + "no answer from " + (silent.empty() ? awaited : silent) + " within " +
                  std::to_string(int64_t(std::ceil(timeout_s_))) +
                  " s (runtime.comm_timeout_s); it hangs or is lost. The same command goes on from the "
                  "newest checkpoint");
}

void HostRanks::wait_until(const std::function<bool()>& done, const char* doing,
                           const std::function<std::string()>& awaited) const {
  double waited_s = 0, check_at = kCheckEvery, say_at = timeout_s_ / 2;
  for (auto asked_at = Clock::now(); !done();) {
    // A gap between two questions is time in which this process did not run: nobody failed to answer it.
    const auto now = Clock::now();
    waited_s += std::min(std::chrono::duration<double>(now - asked_at).count(), kLongestGap);
    asked_at = now;
    if (waited_s > timeout_s_) give_up(doing, awaited());
    if (waited_s > check_at) {
      check_alive(doing);
      check_at += kCheckEvery;
    }
    if (waited_s > say_at) {
      if (say_at == timeout_s_ / 2) heard_waiting();  // of earlier calls
      say_waiting();
      say_at += timeout_s_ / 8;
    }
    rest(waited_s);
  }
}

}  // namespace saslm
