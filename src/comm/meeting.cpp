#include "comm/meeting.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <list>
#include <thread>

#include "core/error.h"

namespace saslm {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr uint64_t kMagic = 0x6d73'6c73'6173'8a01;
constexpr uint32_t kVersion = 1;
constexpr seconds kGreetingTakes(10);  // a rank says at once who it is; whoever does not makes room
constexpr seconds kRankZeroTells(5);   // its words about the deadline arrive later than the deadline
constexpr size_t kStrangers = 200;     // that may be silent at a time

enum Channel : uint32_t { kControl, kData };
enum Verdict : uint32_t { kWelcome, kComplete, kRefused };

struct Greeting {
  uint64_t magic = kMagic;
  uint32_t version = kVersion, size = 0, rank = 0, channel = 0, port = 0, unused = 0;
};
struct Answer {
  uint64_t magic = kMagic;
  uint32_t version = kVersion, verdict = 0;
};
struct Place {         // where a rank listens
  char host[60] = {};  // a number; empty: on rank 0's machine
  uint32_t port = 0;
};

template <class T>
std::span<std::byte> bytes_of(T& value) {
  return std::as_writable_bytes(std::span(&value, 1));
}

std::string named(const std::vector<int>& ranks) {
  std::string text;
  for (const int rank : ranks) text += (text.empty() ? "rank " : ", rank ") + std::to_string(rank);
  return text;
}

std::string seconds_of(Clock::duration time) {
  return std::to_string(std::chrono::ceil<seconds>(time).count()) + " s (runtime.comm_timeout_s)";
}

class Meeting {
 public:
  Meeting(const LaunchedAs& as, Deadline deadline)
      : as_(as),
        deadline_(deadline),
        limit_(deadline - Clock::now()),
        master_{as.master_host, as.master_port},
        connections_(size_t(as.size)),
        places_(size_t(as.size)) {}

  std::vector<Connections> run() {
    as_.rank == 0 ? lead() : follow();
    return std::move(connections_);
  }

 private:
  struct Newcomer {  // connected, and has not yet said who it is
    Socket socket;
    Deadline until;
    Greeting greeting;
    size_t received = 0;
  };

  void lead() {
    listener_ = as_.listener >= 0 ? inherited_listener(as_.listener) : listen_at(master_);
    accept_all(kControl);
    begin_to_connect();
    for (int r = 1; r < as_.size; ++r) {
      answer(connections_[size_t(r)].control, kComplete);
      send_all(connections_[size_t(r)].control, std::as_bytes(std::span(places_)), deadline_);
    }
    accept_all(kData);
  }

  void follow() {
    Socket(as_.listener);  // rank 0's; this process need not keep it open
    Socket& first = connections_[0].control;
    listener_ = listen_at({master_.host, 0});
    first = reach(0, master_, kControl);
    const Deadline patience = Clock::now() + limit_ + kRankZeroTells;
    Answer complete;
    if (!receive_all(first, bytes_of(complete), patience) || judged(complete) != kComplete ||
        !receive_all(first, std::as_writable_bytes(std::span(places_)), patience))
      throw CommError("rank 0 at " + master_.text() + " has ended or hangs, while the ranks were joining");
    begin_to_connect();
    for (int r = 0; r < as_.rank; ++r) {
      Place& place = places_[size_t(r)];
      place.host[sizeof place.host - 1] = '\0';
      Endpoint at = {place.host[0] ? place.host : other_end(first).host, int(place.port)};
      if (r == 0) at = {other_end(first).host, master_.port};
      if (r > 0) connections_[size_t(r)].control = reach(r, at, kControl);
      connections_[size_t(r)].data = reach(r, at, kData);
    }
    accept_all(kControl);
    accept_all(kData);
  }

  Socket& slot(int rank, uint32_t channel) {
    Connections& pair = connections_[size_t(rank)];
    return channel == kControl ? pair.control : pair.data;
  }

  // Connected to a rank that has been told who this is.
  Socket reach(int rank, const Endpoint& at, Channel channel) const {
    Greeting mine = {.size = uint32_t(as_.size),
                     .rank = uint32_t(as_.rank),
                     .channel = channel,
                     .port = uint32_t(own_end(listener_).port)};
    for (auto pause = milliseconds(5);; pause = std::min(2 * pause, milliseconds(200))) {
      Socket socket = connect_to(at, deadline_);
      if (socket && send_all(socket, bytes_of(mine), deadline_) && (rank > 0 || confirmed(socket, channel)))
        return socket;
      if (Clock::now() + pause > deadline_)
        throw CommError(
            "nobody answers at " + at.text() + ", where rank " + std::to_string(rank) +
            " should listen, within " + seconds_of(limit_) + "; start all " + std::to_string(as_.size) +
            " ranks, with the MASTER_ADDR and MASTER_PORT of rank 0's machine, and let no firewall "
            "part them");
      std::this_thread::sleep_for(pause);
    }
  }

  // That rank 0 heard the greeting. False when the connection ends before: it may have been too busy.
  bool confirmed(const Socket& socket, Channel channel) const {
    if (channel == kData) return true;  // it knows this rank
    Answer heard;
    return receive_all(socket, bytes_of(heard), deadline_) && judged(heard) == kWelcome;
  }
  Verdict judged(const Answer& heard) const {
    if (heard.magic != kMagic || heard.version != kVersion)
      throw ConfigError(
          "what answers at " + master_.text() +
          " is not rank 0 of this build of saslm; choose another MASTER_PORT, or start all ranks "
          "with one build");
    if (heard.verdict == kRefused) throw PeerError();
    return Verdict(heard.verdict);
  }

  // All are there, and the time begins anew.
  void begin_to_connect() {
    complete_ = true;
    deadline_ = Clock::now() + limit_;
  }

  // Until every rank above this one has connected.
  void accept_all(Channel channel) {
    for (;;) {
      std::vector<int> missing;
      for (int r = as_.rank + 1; r < as_.size; ++r)
        if (!slot(r, channel)) missing.push_back(r);
      if (missing.empty()) return;
      if (Clock::now() > deadline_)
        fail<CommError>(named(missing) + " of " + std::to_string(as_.size) + " did not come to " +
                        own_end(listener_).text() + " within " + seconds_of(limit_) +
                        "; start every rank, with this address and port");
      listen_once();
      if (as_.rank == 0 && !complete_) check_confirmed();
    }
  }

  // On rank 0: that whoever has come is still there and waits. Where this program's launcher started all, it
  // says who is not.
  void check_confirmed() {
    std::vector<int> gone;
    std::byte unasked;  // by nobody who waits
    for (int r = 1; r < as_.size; ++r)
      if (const Socket& rank = connections_[size_t(r)].control; rank && !receive_some(rank, {&unasked, 1}))
        gone.push_back(r);
    if (gone.empty()) return;
    if (as_.listener >= 0) fail<PeerError>();
    fail<CommError>(
        named(gone) + " of " + std::to_string(as_.size) +
        " ended while the ranks were joining: killed, crashed, or its machine or network is gone");
  }

  // A moment of the listener's work.
  void listen_once() {
    std::vector<pollfd> ready = {{listener_.fd(), POLLIN, 0}};
    for (const Newcomer& one : newcomers_) ready.push_back({one.socket.fd(), POLLIN, 0});
    poll(ready.data(), ready.size(), poll_ms(deadline_, 100));
    while (Socket socket = accept_from(listener_)) {
      newcomers_.push_back({std::move(socket), Clock::now() + kGreetingTakes, {}, 0});
      if (newcomers_.size() > kStrangers + connections_.size()) newcomers_.pop_front();
    }
    for (auto one = newcomers_.begin(); one != newcomers_.end();)
      one = stays_unknown(*one) ? std::next(one) : newcomers_.erase(one);
  }

  // False once it is known who it is, or that it will not be.
  bool stays_unknown(Newcomer& one) {
    const auto count = receive_some(one.socket, bytes_of(one.greeting).subspan(one.received));
    if (!count || Clock::now() > one.until) return false;
    one.received += *count;
    const uint64_t magic = kMagic;
    if (std::memcmp(&one.greeting, &magic, std::min(one.received, sizeof magic)) != 0) return false;
    if (one.received < sizeof one.greeting) return true;
    welcome(one);
    return false;
  }

  void welcome(Newcomer& one) {
    const Greeting& g = one.greeting;
    const std::string who = "the rank that connected from " + other_end(one.socket).host;
    if (g.version != kVersion) refuse(one, who + " is another build of saslm; start all ranks with one");
    if (g.size != uint32_t(as_.size))
      refuse(one, "the ranks were not started alike: rank " + std::to_string(as_.rank) + " as one of " +
                      std::to_string(as_.size) + ", rank " + std::to_string(g.rank) + " as one of " +
                      std::to_string(g.size) + " (WORLD_SIZE)");
    if (g.rank >= g.size || g.channel > kData || g.port > 65535) return;  // no rank says so
    if (int(g.rank) <= as_.rank || slot(int(g.rank), g.channel))
      refuse(one,
             "two processes were started as rank " + std::to_string(g.rank) +
                 " (RANK); give each its own, or end the one left over from another run, the second from " +
                 other_end(one.socket).host);
    slot(int(g.rank), g.channel) = std::move(one.socket);
    if (as_.rank > 0 || g.channel == kData) return;
    const Socket& rank = connections_[g.rank].control;
    answer(rank, kWelcome);
    Place& place = places_[g.rank];
    const std::string host = other_end(rank).host;
    place.port = g.port;
    if (!is_loopback(host) && host.size() < sizeof place.host) host.copy(place.host, host.size());
  }

  static void answer(const Socket& socket, Verdict verdict) {
    Answer told = {.verdict = verdict};
    send_some(socket, bytes_of(told));  // a few bytes always fit
  }

  [[noreturn]] void refuse(Newcomer& one, const std::string& why) {
    answer(one.socket, kRefused);
    fail<ConfigError>(why);
  }

  template <class Why, class... Text>
  [[noreturn]] void fail(const Text&... why) {
    for (const Connections& pair : connections_)
      if (as_.rank == 0 && pair.control && !complete_) answer(pair.control, kRefused);
    throw Why(why...);
  }

  const LaunchedAs as_;
  Deadline deadline_;
  const Clock::duration limit_;
  const Endpoint master_;
  bool complete_ = false;
  Socket listener_;
  std::list<Newcomer> newcomers_;
  std::vector<Connections> connections_;
  std::vector<Place> places_;
};

}  // namespace

std::vector<Connections> meet(const LaunchedAs& as, Deadline deadline) {
  return Meeting(as, deadline).run();
}

}  // namespace saslm
