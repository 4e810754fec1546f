// Base of the host-memory communicators: waiting for other ranks, and finding out which one does not answer.
//
// If one rank hangs, its partner waits, then the partner's partner, and soon all ranks wait. So a rank that
// has waited for half the time limit tells all others; the silent rank is the one that hangs. The lowest
// waiting rank reports it (CommError), the others end quietly (PeerError).
//
// A signal stops all ranks together between steps, which they never reach if a rank hangs. So after a signal
// a wait may last at most ten times the longest wait before it, and at least ten seconds; then the silent
// rank is reported and the run ends without another save (CommError).
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

  // Polls done() until it returns true. `awaited` names the ranks that this wait is for, in messages.
  void wait_until(const std::function<bool()>& done, const char* doing,
                  const std::function<std::string()>& awaited) const;

 protected:
  // Throws PeerError: another rank reports the reason.
  [[noreturn]] void let_another_say() const;
  bool another_says() const { return another_says_; }

  virtual void rest(double waited_s) const;  // between two polls

 private:
  virtual void say_waiting() const = 0;                   // tells all other ranks, without blocking
  virtual std::set<int> heard_waiting() const = 0;        // ranks that have told us so since the last call
  virtual void check_alive(const char* doing) const = 0;  // CommError with a rank that is known to be gone

  [[noreturn]] void give_up(const char* doing, const std::string& awaited) const;

  struct Heeded {  // times within one wait, in seconds
    double say_at, stop_asked_at = -1;
  };
  // Handles a stop request, and prints whom we wait for when that is due.
  void heed(double waited_s, const char* doing, const std::function<std::string()>& awaited, Heeded&) const;
  double patience_after_stop_s() const;

  double timeout_s_;
  Waiting waiting_;
  mutable double longest_s_ = 0;  // of the waits that succeeded
  mutable bool another_says_ = false;
};

// A host communicator of one rank, over which a single GPU joins NCCL.
std::unique_ptr<HostRanks> room_of_one(double timeout_s);

}  // namespace saslm
