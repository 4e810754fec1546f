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
constexpr double kSayAfter_s = 30, kSayAgainAfter_s = 60, kSayAfterStop_s = 2;
constexpr double kLeastPatience_s = 10, kPatience = 10;  // times the longest wait so far
constexpr double kLowerSpeaksFirst_s = 0.5;  // so that only one of the ranks that give up together reports it

}  // namespace

void HostRanks::let_another_say() const {
  another_says_ = true;
  throw PeerError();
}

// A rank that has waited long yields its core, so that others can compute.
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
                  " s (runtime.comm_timeout_s): it hangs, is lost, or needs longer for its part of a step; "
                  "if so, raise the timeout. The same command continues from the newest checkpoint");
}

double HostRanks::patience_after_stop_s() const {
  return std::max(kLeastPatience_s, kPatience * longest_s_) + kLowerSpeaksFirst_s * std::min(rank(), 8);
}

void HostRanks::heed(double waited_s, const char* doing, const std::function<std::string()>& awaited,
                     Heeded& heeded) const {
  if (heeded.stop_asked_at < 0 && waiting_.stop()) {
    heeded.stop_asked_at = waited_s;
    heeded.say_at = waited_s + kSayAfterStop_s;
  }
  const bool stop = heeded.stop_asked_at >= 0;
  const double limit_s =
      stop ? std::min(timeout_s_, heeded.stop_asked_at + patience_after_stop_s()) : timeout_s_;
  const auto whole = [](double s) { return std::to_string(int64_t(std::ceil(s))) + " s"; };
  if (stop && waited_s > limit_s)
    throw CommError(
        said(doing) + "a signal requested a stop, but " + awaited() + " did not answer for " +
        whole(waited_s) +
        ": the steps since the newest checkpoint are lost. The same command continues from there");
  if (waited_s < heeded.say_at) return;
  heeded.say_at = waited_s + kSayAgainAfter_s;
  if (const std::string whom = awaited(); rank() == 0 || whom == "rank 0")
    waiting_.say("rank " + std::to_string(rank()) + " is waiting for " + whom + " in the " + doing +
                 ", for " + whole(waited_s) + " so far, for " + whole(limit_s) +
                 (stop ? " at most, since a signal requested a stop; a second signal ends the run at once"
                       : " (runtime.comm_timeout_s) at most"));
}

void HostRanks::wait_until(const std::function<bool()>& done, const char* doing,
                           const std::function<std::string()>& awaited) const {
  double waited_s = 0, check_at = kCheckEvery, say_at = timeout_s_ / 2;
  Heeded heeded{.say_at = kSayAfter_s};
  for (auto asked_at = Clock::now(); !done();) {
    // A gap between two polls is time in which this process did not run, so no rank failed to answer.
    const auto now = Clock::now();
    waited_s += std::min(std::chrono::duration<double>(now - asked_at).count(), kLongestGap);
    asked_at = now;
    if (waited_s > timeout_s_) give_up(doing, awaited());
    if (waited_s > check_at) {
      check_alive(doing);
      heed(waited_s, doing, awaited, heeded);
      check_at += kCheckEvery;
    }
    if (waited_s > say_at) {
      if (say_at == timeout_s_ / 2) heard_waiting();  // discards messages of earlier calls
      say_waiting();
      say_at += timeout_s_ / 8;
    }
    rest(waited_s);
  }
  longest_s_ = std::max(longest_s_, waited_s);
}

}  // namespace saslm
