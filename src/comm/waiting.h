// What a rank that waits for others asks, and tells: whether it shall stop, and whom it waits for.
#pragma once
#include <algorithm>
#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "core/error.h"

namespace saslm {

struct Waiting {
  std::function<bool()> stop = [] { return false; };  // a signal asks to end
  std::function<void(const std::string& line)> say = [](const std::string&) {};
};

// A signal ended the wait for other ranks before anything was begun: there was nothing to save.
struct StoppedError : Error {
  using Error::Error;
};

// When a wait is worth a line: a start that goes well is through by then, and a person does not yet wonder.
constexpr std::chrono::milliseconds kSayAfter(1500);
constexpr std::chrono::seconds kSayAgainAfter(30);

// A wait that says what it waits for after a moment, and again every half a minute.
class Vigil {
 public:
  explicit Vigil(const Waiting& waiting) : waiting_(waiting) {}
  bool stop() const { return waiting_.stop(); }
  std::chrono::seconds lasted() const;
  // To be called often; line() is asked for when it is time to say it.
  void go_on(const std::function<std::string()>& line);
  void soon() { say_at_ = std::min(say_at_, Clock::now() + kSayAfter); }  // there is news

 private:
  using Clock = std::chrono::steady_clock;
  Waiting waiting_;
  Clock::time_point began_ = Clock::now(), say_at_ = began_ + kSayAfter;
};

// "rank 1, rank 2 and 1022 more".
std::string named_ranks(const std::vector<int>& ranks);

}  // namespace saslm
