// Callbacks of a rank that waits for others: whether to stop, and where to print whom it waits for.
#pragma once
#include <algorithm>
#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "core/error.h"

namespace saslm {

struct Waiting {
  std::function<bool()> stop = [] { return false; };  // whether a signal requests a stop
  std::function<void(const std::string& line)> say = [](const std::string&) {};
};

// A signal ended the wait for other ranks before anything was started, so there was nothing to save.
struct StoppedError : Error {
  using Error::Error;
};

// After this time a wait is reported: a normal start is faster, and a user does not wonder yet.
constexpr std::chrono::milliseconds kSayAfter(1500);
constexpr std::chrono::seconds kSayAgainAfter(30);

// Decides when to report a wait: after a moment, and then every 30 s.
class Vigil {
 public:
  explicit Vigil(const Waiting& waiting) : waiting_(waiting) {}
  bool stop() const { return waiting_.stop(); }
  std::chrono::seconds lasted() const;
  // Call often; line() is called when a report is due.
  void go_on(const std::function<std::string()>& line);
  void soon() { say_at_ = std::min(say_at_, Clock::now() + kSayAfter); }  // report soon: there is news

 private:
  using Clock = std::chrono::steady_clock;
  Waiting waiting_;
  Clock::time_point began_ = Clock::now(), say_at_ = began_ + kSayAfter;
};

// "rank 1, rank 2 and 1022 more".
std::string named_ranks(const std::vector<int>& ranks);

}  // namespace saslm
