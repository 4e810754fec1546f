// What rooms of host memory share: waiting for other ranks, and finding out which of them does not answer.
//
// A rank that hangs keeps its partner waiting, that one the next, and soon all wait for somebody. So whoever
// has been waiting for half the time limit begins to tell all others; who then is silent is the one that
// hangs. The lowest of those who wait reports it (CommError), the others end quietly (PeerError).
//
// A stop that a signal asks for is made between steps, by all together. Where a rank hangs they never get
// there: so from the signal on a wait may last ten times as long as the longest before it, and ten seconds at
// least; then it is told whom it was for, and the run ends without a further save (CommError).
#pragma once
#include <functional>
#include <set>
#include <string>

#include "comm/communicator.h"

namespace saslm {

class HostRanks : public Communicator {
 public:
  HostRanks(int rank, int size, double timeout_s, Waiting waiting = {})
      : Communicator(rank, size), timeout_s_(timeout_s), waiting_(std::move(waiting)) {}

  double timeout_s() const { return timeout_s_; }
  static std::string said(const char* doing) { return "in the " + std::string(doing) + ": "; }

  // Asks done() until it says yes; `awaited` names whom the time is spent on, where nobody else knows better.
  void wait_until(const std::function<bool()>& done, const char* doing,
                  const std::function<std::string()>& awaited) const;

 protected:
  // Another rank says why this one ends: PeerError.
  [[noreturn]] void let_another_say() const;
  bool another_says() const { return another_says_; }

  virtual void rest(double waited_s) const;  // between two questions

 private:
  virtual void say_waiting() const = 0;                   // to all others, without waiting
  virtual std::set<int> heard_waiting() const = 0;        // who has said so since this was last called
  virtual void check_alive(const char* doing) const = 0;  // CommError naming a rank that is known to be gone

  [[noreturn]] void give_up(const char* doing, const std::string& awaited) const;

  struct Heeded {  // in one wait, as seconds of it
    double say_at, stop_asked_at = -1;
  };
  // That a stop was asked for, and that it is time to say who is waited for.
  void heed(double waited_s, const char* doing, const std::function<std::string()>& awaited, Heeded&) const;
  double patience_after_stop_s() const;

  double timeout_s_;
  Waiting waiting_;
  mutable double longest_s_ = 0;  // of the waits that had an end
  mutable bool another_says_ = false;
};

// A room for one, who talks to nobody: what GPUs are joined over where there is one.
std::unique_ptr<HostRanks> room_of_one(double timeout_s);

}  // namespace saslm
