#include "comm/meeting.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <list>
#include <thread>

#include "comm/greeting.h"
#include "comm/let_go.h"
#include "core/error.h"

namespace saslm {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds kGreetingTakes(10);  // a rank says at once who it is; whoever does not makes room
constexpr seconds kRankZeroTells(5);   // its words about the deadline arrive later than the deadline
constexpr seconds kConnecting(10);     // once all are there that takes moments; then a stop may wait for it
constexpr size_t kStrangers = 200;     // that may be silent at a time
constexpr int kAtATime = 64;           // connections that are accepted before all else is looked at
constexpr const char* kNoRank = "connections by others than ranks";
constexpr const char* kWithoutToken = "connections without the run's token";

std::string seconds_of(Clock::duration time) {
  return std::to_string(std::chrono::ceil<seconds>(time).count()) + " s (runtime.comm_timeout_s)";
}

class Meeting {
 public:
  Meeting(const LaunchedAs& as, Deadline deadline, const Waiting& waiting)
      : as_(as),
        deadline_(deadline),
        limit_(deadline - Clock::now()),
        master_{as.master_host, as.master_port},
        token_(as.token.value_or(RunToken{})),
        vigil_(waiting),
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
    begin_to_connect(draw_token());
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
    const auto wait = [this] { heed("rank 0, which waits for the others"); };
    Answer complete;
    if (!hear(first, complete, patience, wait) || judged(complete) != kComplete ||
        !receive_all(first, std::as_writable_bytes(std::span(places_)), patience, wait))
      throw CommError("rank 0 at " + master_.text() + " has ended or hangs, while the ranks were joining");
    begin_to_connect(complete.token);
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

  // Between the parts of a wait for `whom`.
  void heed(const std::string& whom) {
    const std::string of =
        whom + " (" + std::to_string(as_.size) + " ranks, rank 0 at " + master_.text() + ")";
    if (vigil_.stop() && (!complete_ || Clock::now() > deadline_ - limit_ + kConnecting))
      fail<StoppedError>(kStopped, "stopped by a signal while waiting for " + of +
                                       "; nothing was begun, so that there is nothing to save: the same "
                                       "command starts again");
    vigil_.go_on([&] {
      return "rank " + std::to_string(as_.rank) + " is waiting for " + of + ", for " +
             std::to_string(vigil_.lasted().count()) + " s so far, for " + seconds_of(limit_) + " at most" +
             let_go_.text() + why_several();
    });
  }

  // Which variables say that there are others, unless this program has set them.
  std::string why_several() const {
    if (as_.said_by.empty() || as_.listener >= 0) return "";
    return ". That there are several ranks is said by " + as_.said_by +
           " in the environment: where that is left over, unset " + as_.to_unset;
  }

  // Connected to a rank that has been told who this is.
  Socket reach(int rank, const Endpoint& at, Channel channel) {
    Greeting mine = {.size = uint32_t(as_.size),
                     .rank = uint32_t(as_.rank),
                     .channel = channel,
                     .port = uint32_t(own_end(listener_).port),
                     .token = token_};
    const auto wait = [&] { heed("rank " + std::to_string(rank) + " to answer at " + at.text()); };
    bool connected = false;
    for (auto pause = milliseconds(5);; pause = std::min(2 * pause, milliseconds(200))) {
      wait();
      Socket socket = connect_to(at, deadline_, wait);
      connected = connected || socket;
      if (socket && send_all(socket, bytes_in(mine), deadline_) && (complete_ || confirmed(socket)))
        return socket;
      if (Clock::now() + pause > deadline_)
        throw CommError(
            (connected
                 ? "who listens at " + at.text() + " lets this rank go without a word (give all ranks one " +
                       kTokenVariable + "): it is not known to be rank 0, and nobody answers there"
                 : "nobody answers at " + at.text()) +
            ", where rank " + std::to_string(rank) + " should listen, within " + seconds_of(limit_) +
            "; start all " + std::to_string(as_.size) +
            " ranks, with the MASTER_ADDR and MASTER_PORT of rank 0's machine, and let no firewall "
            "part them" +
            why_several());
      std::this_thread::sleep_for(pause);
    }
  }

  // That rank 0 heard the greeting. False when the connection ends before: it may have been too busy.
  bool confirmed(const Socket& socket) {
    Answer heard;
    const auto wait = [this] { heed("rank 0 to answer"); };
    return hear(socket, heard, deadline_, wait) && judged(heard) == kWelcome;
  }
  // False when the connection ends before. Others may say less than an answer, and then wait.
  bool hear(const Socket& socket, Answer& answer, Deadline deadline, const Meanwhile& wait) const {
    constexpr size_t kKnown = offsetof(Answer, verdict);
    if (!receive_all(socket, bytes_in(answer).first(kKnown), deadline, wait)) return false;
    if (answer.magic != kMagic || answer.version != kVersion)
      throw ConfigError(
          "what answers at " + master_.text() +
          " is not rank 0 of this build of saslm; choose another MASTER_PORT, or start all ranks "
          "with one build");
    return receive_all(socket, bytes_in(answer).subspan(kKnown), deadline, wait);
  }
  Verdict judged(const Answer& heard) const {
    if (heard.verdict == kOtherSize)
      throw ConfigError("the ranks were not started alike: rank 0 at " + master_.text() + " as one of " +
                        std::to_string(heard.size) + ", rank " + std::to_string(as_.rank) + " as one of " +
                        std::to_string(as_.size) + " (WORLD_SIZE)");
    if (heard.verdict == kTaken)
      throw ConfigError(
          "two processes were started as rank " + std::to_string(as_.rank) + " (RANK) of those who meet at " +
          master_.text() +
          ", and this is the second; give each its own, or end the one left over from another run");
    if (heard.verdict == kOtherToken)
      throw ConfigError(std::string("rank 0 at ") + master_.text() + " was started without the " +
                        kTokenVariable + " of this rank; give it to all of them, or unset it");
    if (heard.verdict == kStopped) throw StoppedError("a signal stopped rank 0 while the ranks were joining");
    if (heard.verdict == kFailed) throw PeerError();
    return Verdict(heard.verdict);
  }

  // All are there, and the time begins anew. From now on they know each other by a token that only they have.
  void begin_to_connect(const RunToken& token) {
    complete_ = true;
    token_ = token;
    deadline_ = Clock::now() + limit_;
  }

  // Until every rank above this one has connected.
  void accept_all(Channel channel) {
    for (;;) {
      std::vector<int> missing;
      for (int r = as_.rank + 1; r < as_.size; ++r)
        if (!slot(r, channel)) missing.push_back(r);
      if (missing.empty()) return;
      heed(named_ranks(missing));
      if (Clock::now() > deadline_)
        fail<CommError>(kFailed, named_ranks(missing) + " of " + std::to_string(as_.size) +
                                     " did not come to " + own_end(listener_).text() + " within " +
                                     seconds_of(limit_) + "; start every rank, with this address and port" +
                                     let_go_.text() + why_several());
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
    if (as_.listener >= 0) fail<PeerError>(kFailed);
    fail<CommError>(
        kFailed,
        named_ranks(gone) + " of " + std::to_string(as_.size) +
            " ended while the ranks were joining: killed, crashed, or its machine or network is gone");
  }

  // A moment of the listener's work.
  void listen_once() {
    std::vector<pollfd> ready = {{listener_.fd(), POLLIN, 0}};
    for (const Newcomer& one : newcomers_) ready.push_back({one.socket.fd(), POLLIN, 0});
    poll(ready.data(), ready.size(), poll_ms(deadline_, 100));
    for (int count = 0; count < kAtATime; ++count) {
      Newcomer one{accept_from(listener_), Clock::now() + kGreetingTakes, {}, 0};
      if (!one.socket && !make_room()) break;
      if (one.socket && stays_unknown(one)) newcomers_.push_back(std::move(one));
    }
    while (newcomers_.size() > kStrangers + connections_.size()) newcomers_.pop_front();
    for (auto one = newcomers_.begin(); one != newcomers_.end();)
      one = stays_unknown(*one) ? std::next(one) : newcomers_.erase(one);
  }

  // For a connection that this process may not have beside those that say nothing.
  bool make_room() {
    if (errno != EMFILE && errno != ENFILE) return false;
    if (newcomers_.empty()) std::this_thread::sleep_for(milliseconds(10));
    if (newcomers_.empty()) return false;
    newcomers_.pop_front();
    return true;
  }

  // False once it is known who it is, or that it will not be.
  bool stays_unknown(Newcomer& one) {
    const auto count = receive_some(one.socket, bytes_in(one.greeting).subspan(one.received));
    if (!count || Clock::now() > one.until) return let_go(one, "connections that said nothing");
    one.received += *count;
    const uint64_t magic = kMagic;
    if (std::memcmp(&one.greeting, &magic, std::min(one.received, sizeof magic)) != 0)
      return let_go(one, kNoRank);
    constexpr size_t kKnowsVersion = offsetof(Greeting, version) + sizeof one.greeting.version;
    if (one.received >= kKnowsVersion && one.greeting.version != kVersion) return refuse_version(one);
    return one.received < sizeof one.greeting || welcome(one);
  }

  bool let_go(Newcomer& one, const std::string& what) {
    if (let_go_.add(what)) vigil_.soon();
    one.socket.close();
    return false;
  }
  // With a word to what may be a rank that was started wrongly.
  bool refuse(Newcomer& one, Verdict verdict, const std::string& what) {
    answer(one.socket, verdict);
    return let_go(one, "a rank from " + other_end(one.socket).host + " that " + what);
  }
  bool refuse_version(Newcomer& one) {
    if (tokens_count()) return let_go(one, kWithoutToken);
    return refuse(one, kFailed, "is of another build of saslm: start all ranks with one");
  }
  // Then nobody is told why it is let go who does not have it.
  bool tokens_count() const { return as_.token || complete_; }

  // False: the connection is a rank's now, or was let go.
  bool welcome(Newcomer& one) {
    const Greeting& g = one.greeting;
    if (!equal(g.token, token_))
      return tokens_count() ? let_go(one, kWithoutToken)
                            : refuse(one, kOtherToken, std::string("has a ") + kTokenVariable);
    if (g.size != uint32_t(as_.size))
      return refuse(one, kOtherSize,
                    "was started as one of " + std::to_string(g.size) + ", wanted " +
                        std::to_string(as_.size) + " (WORLD_SIZE)");
    if (g.rank >= g.size || g.channel > kData || g.port > 65535 || (g.channel == kData && !complete_))
      return let_go(one, kNoRank);
    if (int(g.rank) <= as_.rank || slot(int(g.rank), g.channel))
      return refuse(one, kTaken,
                    "was started as rank " + std::to_string(g.rank) + ", which there is already (RANK)");
    slot(int(g.rank), g.channel) = std::move(one.socket);
    if (as_.rank == 0 && g.channel == kControl) confirm(int(g.rank), int(g.port));
    return false;
  }

  void confirm(int rank, int port) {
    const Socket& control = connections_[size_t(rank)].control;
    answer(control, kWelcome);
    Place& place = places_[size_t(rank)];
    const std::string host = other_end(control).host;
    place.port = uint32_t(port);
    if (!is_loopback(host) && host.size() < sizeof place.host) host.copy(place.host, host.size());
  }

  void answer(const Socket& socket, Verdict verdict) const {
    Answer told = {.verdict = verdict, .size = uint32_t(as_.size)};
    if (verdict == kComplete) told.token = token_;
    send_some(socket, bytes_in(told));  // a few bytes always fit
  }

  template <class Why, class... Text>
  [[noreturn]] void fail(Verdict verdict, const Text&... why) {
    for (const Connections& pair : connections_)
      if (as_.rank == 0 && pair.control && !complete_) answer(pair.control, verdict);
    throw Why(why...);
  }

  const LaunchedAs as_;
  Deadline deadline_;
  const Clock::duration limit_;
  const Endpoint master_;
  RunToken token_;
  bool complete_ = false;
  Vigil vigil_;
  LetGo let_go_;
  Socket listener_;
  std::list<Newcomer> newcomers_;
  std::vector<Connections> connections_;
  std::vector<Place> places_;
};

}  // namespace

std::vector<Connections> meet(const LaunchedAs& as, Deadline deadline, const Waiting& waiting) {
  return Meeting(as, deadline, waiting).run();
}

}  // namespace saslm
