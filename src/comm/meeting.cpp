#include "comm/meeting.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <list>
#include <thread>

#include "comm/greeting.h"
#include "comm/hear.h"
#include "comm/let_go.h"
#include "comm/secret_file.h"
#include "core/error.h"

namespace saslm {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds kGreetingTakes(
    10);  // a rank identifies itself at once; other connections are dropped after this
constexpr seconds kRankZeroTells(5);  // its message about the deadline arrives after the deadline
constexpr seconds kConnecting(10);    // once all are there, this takes moments, so a stop may wait for it
constexpr size_t kStrangers = 200;    // silent connections at a time
constexpr int kAtATime = 64;          // connections accepted in a row before other work
constexpr const char* kNoRank = "connections that were not from ranks";

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
        key_(as.secret),
        vigil_(waiting),
        connections_(size_t(as.size)),
        addresses_(size_t(as.size)) {}

  std::vector<Connections> run() {
    if (!key_ && as_.shared_dir.empty())
      throw ConfigError("the environment of " + std::to_string(as_.size) + " ranks (" + as_.said_by +
                        ") should have a " + kSecretVariable + ", the same for all ranks, of " +
                        std::to_string(kShortestSecret) +
                        " characters or more, which proves that they belong together");
    as_.rank == 0 ? lead() : follow();
    return std::move(connections_);
  }

 private:
  struct Newcomer {  // connected but not yet identified
    Socket socket;
    Deadline until;
    struct {
      Greeting greeting;
      Proof proof = {};
    } said = {};
    size_t received = 0;
    std::optional<Nonce> challenge = {};
  };

  void lead() {
    if (!key_) key_ = secret_file_.emplace(as_.shared_dir).key();
    listener_ = as_.listener >= 0 ? inherited_listener(as_.listener) : listen_at(master_);
    accept_all(kControl);
    begin_to_connect();
    for (int r = 1; r < as_.size; ++r) {
      answer(connections_[size_t(r)].control, kComplete);
      send_all(connections_[size_t(r)].control, std::as_bytes(std::span(addresses_)), deadline_);
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
    if (!hear(first, complete, master_.text(), patience, wait) || judged(complete) != kComplete ||
        !receive_all(first, std::as_writable_bytes(std::span(addresses_)), patience, wait))
      throw CommError("rank 0 at " + master_.text() + " ended or hangs while the ranks were joining");
    begin_to_connect();
    for (int r = 0; r < as_.rank; ++r) {
      ListenAddress& address = addresses_[size_t(r)];
      address.host[sizeof address.host - 1] = '\0';
      Endpoint at = {address.host[0] ? address.host : other_end(first).host, int(address.port)};
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

  // Called repeatedly while waiting for `whom`: handles stops and messages.
  void heed(const std::string& whom) {
    const std::string of =
        whom + " (" + std::to_string(as_.size) + " ranks, rank 0 at " + master_.text() + ")";
    if (vigil_.stop() && (!complete_ || Clock::now() > deadline_ - limit_ + kConnecting))
      fail<StoppedError>(
          kStopped, "stopped by a signal while waiting for " + of +
                        "; nothing was started and there is nothing to save: the same command starts again");
    vigil_.go_on([&] {
      return "rank " + std::to_string(as_.rank) + " is waiting for " + of + ", for " +
             std::to_string(vigil_.lasted().count()) + " s so far, for " + seconds_of(limit_) + " at most" +
             let_go_.text() + why_several();
    });
  }

  // The variables that announce other ranks, unless this program set them.
  std::string why_several() const {
    if (as_.said_by.empty() || as_.listener >= 0) return "";
    return ". The number of ranks comes from " + as_.said_by +
           " in the environment; if that is left over, unset " + as_.to_unset;
  }

  // Connects to a rank; both sides have then proved that they belong to the run.
  Socket reach(int rank, const Endpoint& at, Channel channel) {
    const auto wait = [&] { heed("rank " + std::to_string(rank) + " to answer at " + at.text()); };
    bool connected = false;
    for (auto pause = milliseconds(5);; pause = std::min(2 * pause, milliseconds(200))) {
      if (knows_secret()) {
        wait();
        Socket socket = connect_to(at, deadline_, wait);
        connected = connected || socket;
        if (socket && confirmed(socket, rank, at, channel, wait)) return socket;
      } else {
        heed("rank 0 to write " + secret_path(as_.shared_dir) + ", where it has no " + kSecretVariable);
      }
      if (Clock::now() + pause > deadline_)
        throw CommError(why_not_reached(rank, at, connected) + why_several());
      std::this_thread::sleep_for(pause);
    }
  }

  std::string why_not_reached(int rank, const Endpoint& at, bool connected) const {
    const std::string all = "all " + std::to_string(as_.size) + " ranks",
                      within = " within " + seconds_of(limit_);
    const std::string share = std::string("a --run-dir that the machines share, or one ") + kSecretVariable;
    if (!key_)
      return "rank 0 wrote no " + secret_path(as_.shared_dir) + ", which proves that ranks belong together," +
             within + "; start " + all + ", with " + share;
    if (stale_)
      return "the secret in " + secret_path(as_.shared_dir) + " did not become that of rank 0 at " +
             at.text() + within + "; give " + all + " " + share;
    return (connected ? "who listens at " + at.text() + " closed the connection without an answer"
                      : "no answer at " + at.text()) +
           ", where rank " + std::to_string(rank) + " should listen," + within + "; start " + all +
           ", with the MASTER_ADDR and MASTER_PORT of rank 0's machine, and check the firewall";
  }

  // Reads the secret from the file until it has worked once: an earlier run may have left another file.
  bool knows_secret() {
    if (!as_.secret && !complete_) key_ = read_secret(as_.shared_dir);
    return key_.has_value();
  }

  // Whether the other side got the greeting and both have the secret. False if the connection ends first: the
  // other side may have been too busy.
  bool confirmed(const Socket& socket, int rank, const Endpoint& at, Channel channel, const Meanwhile& wait) {
    Said said = {.greeting = {.size = uint32_t(as_.size),
                              .rank = uint32_t(as_.rank),
                              .to = uint32_t(rank),
                              .channel = channel,
                              .port = uint32_t(own_end(listener_).port),
                              .nonce = draw_nonce()},
                 .side = kConnects};
    Challenge challenge;
    Answer heard;
    if (!send_all(socket, bytes_in(said.greeting), deadline_) ||
        !hear(socket, challenge, at.text(), deadline_, wait))
      return false;
    said.challenge = challenge.nonce;
    const Proof mine = prove(*key_, bytes_in(said));
    if (!send_all(socket, mine, deadline_) || !hear(socket, heard, at.text(), deadline_, wait)) return false;
    stale_ = heard.verdict == kOtherSecret && !as_.secret;
    if (stale_) return false;
    said.side = kListens, said.verdict = heard.verdict, said.size = heard.size;
    if (heard.verdict != kOtherSecret && !proves(heard.proof, *key_, bytes_in(said)))
      throw ConfigError("the program at " + at.text() + " does not prove that it is rank " +
                        std::to_string(rank) +
                        " of this run: it may be another program; choose another MASTER_PORT");
    return judged(heard) == kWelcome;
  }
  Verdict judged(const Answer& heard) const {
    if (heard.verdict == kOtherSize)
      throw ConfigError("the ranks were not started alike: rank 0 at " + master_.text() + " as one of " +
                        std::to_string(heard.size) + ", rank " + std::to_string(as_.rank) + " as one of " +
                        std::to_string(as_.size) + " (WORLD_SIZE)");
    if (heard.verdict == kTaken)
      throw ConfigError(
          "two processes were started as rank " + std::to_string(as_.rank) + " (RANK) at " + master_.text() +
          ", and this is the second; give each its own RANK, or end a process left over from another run");
    if (heard.verdict == kOtherSecret)
      throw ConfigError(std::string("rank 0 at ") + master_.text() + " was started without the " +
                        kSecretVariable + " of this rank; give all ranks the same one, or unset it on all");
    if (heard.verdict == kStopped) throw StoppedError("a signal stopped rank 0 while the ranks were joining");
    if (heard.verdict == kFailed) throw PeerError();
    return Verdict(heard.verdict);
  }

  // All ranks are there; restarts the timeout.
  void begin_to_connect() {
    complete_ = true;
    deadline_ = Clock::now() + limit_;
  }

  // Waits until every rank above this one has connected.
  void accept_all(Channel channel) {
    for (;;) {
      std::vector<int> missing;
      for (int r = as_.rank + 1; r < as_.size; ++r)
        if (!slot(r, channel)) missing.push_back(r);
      if (missing.empty()) return;
      heed(named_ranks(missing));
      if (Clock::now() > deadline_)
        fail<CommError>(kFailed, named_ranks(missing) + " of " + std::to_string(as_.size) +
                                     " did not connect to " + own_end(listener_).text() + " within " +
                                     seconds_of(limit_) + "; start every rank, with this address and port" +
                                     let_go_.text() + why_several());
      listen_once();
      if (as_.rank == 0 && !complete_) check_confirmed();
    }
  }

  // On rank 0: checks that connected ranks are still there. Our own launcher, if any, reports those that are
  // gone.
  void check_confirmed() {
    std::vector<int> gone;
    std::byte unasked;  // a waiting rank sends nothing
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

  // One round of the listener's work.
  void listen_once() {
    std::vector<pollfd> ready = {{listener_.fd(), POLLIN, 0}};
    for (const Newcomer& one : newcomers_) ready.push_back({one.socket.fd(), POLLIN, 0});
    poll(ready.data(), ready.size(), poll_ms(deadline_, 100));
    for (int count = 0; count < kAtATime; ++count) {
      Newcomer one{accept_from(listener_), Clock::now() + kGreetingTakes};
      if (!one.socket && !make_room()) break;
      if (one.socket && stays_unknown(one)) newcomers_.push_back(std::move(one));
    }
    while (newcomers_.size() > kStrangers + connections_.size()) newcomers_.pop_front();
    for (auto one = newcomers_.begin(); one != newcomers_.end();)
      one = stays_unknown(*one) ? std::next(one) : newcomers_.erase(one);
  }

  // Drops a silent connection if the limit is reached.
  bool make_room() {
    if (errno != EMFILE && errno != ENFILE) return false;
    if (newcomers_.empty()) std::this_thread::sleep_for(milliseconds(10));
    if (newcomers_.empty()) return false;
    newcomers_.pop_front();
    return true;
  }

  // False once it is identified or dropped.
  bool stays_unknown(Newcomer& one) {
    const Greeting& greeting = one.said.greeting;
    const size_t awaited = one.challenge ? sizeof one.said : sizeof greeting;
    const auto count =
        receive_some(one.socket, bytes_in(one.said).subspan(one.received, awaited - one.received));
    if (!count || Clock::now() > one.until) return let_go(one, "connections that sent nothing");
    one.received += *count;
    const uint64_t magic = kMagic;
    if (std::memcmp(&greeting, &magic, std::min(one.received, sizeof magic)) != 0)
      return let_go(one, kNoRank);
    constexpr size_t kKnowsVersion = offsetof(Greeting, version) + sizeof greeting.version;
    if (one.received >= kKnowsVersion && greeting.version != kVersion)
      return refuse(one, kFailed, "uses another build of saslm; start all ranks with one build");
    if (one.received < sizeof greeting) return true;
    if (!one.challenge) challenge(one);
    return one.received < sizeof one.said || welcome(one);
  }

  void challenge(Newcomer& one) const {
    const Challenge told = {.nonce = one.challenge.emplace(draw_nonce())};
    send_some(one.socket, std::as_bytes(std::span(&told, 1)));  // a few bytes always fit
  }

  bool let_go(Newcomer& one, const std::string& what) {
    if (let_go_.add(what)) vigil_.soon();
    one.socket.close();
    return false;
  }
  // Refuses with an answer, since it may be a rank that was started wrongly.
  bool refuse(Newcomer& one, Verdict verdict, const std::string& what) {
    answer(one, verdict);
    return let_go(one, "a rank from " + other_end(one.socket).host + " that " + what);
  }

  // False: the connection now belongs to a rank, or was refused.
  bool welcome(Newcomer& one) {
    const Greeting& g = one.said.greeting;
    if (!proves(one.said.proof, *key_, bytes_in(said(one, kConnects, 0, 0))))
      return refuse(one, kOtherSecret, std::string("has a different secret (") + kSecretVariable + ")");
    if (g.size != uint32_t(as_.size))
      return refuse(one, kOtherSize,
                    "was started as one of " + std::to_string(g.size) + ", wanted " +
                        std::to_string(as_.size) + " (WORLD_SIZE)");
    if (g.rank >= g.size || g.to != uint32_t(as_.rank) || g.channel > kData || g.port > 65535 ||
        (g.channel == kData && !complete_))
      return let_go(one, kNoRank);
    if (int(g.rank) <= as_.rank || slot(int(g.rank), g.channel))
      return refuse(one, kTaken,
                    "was started as rank " + std::to_string(g.rank) + ", which is already taken (RANK)");
    answer(one, kWelcome);
    slot(int(g.rank), g.channel) = std::move(one.socket);
    if (as_.rank == 0 && g.channel == kControl) note_address(int(g.rank), int(g.port));
    return false;
  }

  static Said said(const Newcomer& one, Side side, uint32_t verdict, uint32_t size) {
    return {.greeting = one.said.greeting,
            .challenge = one.challenge.value_or(Nonce{}),
            .side = side,
            .verdict = verdict,
            .size = size};
  }

  void note_address(int rank, int port) {
    const Socket& control = connections_[size_t(rank)].control;
    ListenAddress& address = addresses_[size_t(rank)];
    const std::string host = other_end(control).host;
    address.port = uint32_t(port);
    if (!is_loopback(host) && host.size() < sizeof address.host) host.copy(address.host, host.size());
  }

  void answer(const Socket& socket, Verdict verdict) const {
    const Answer told = {.verdict = verdict, .size = uint32_t(as_.size)};
    send_some(socket, bytes_in(told));  // a few bytes always fit
  }
  // Sends the first Answer, with this side's proof if the other side has proved itself.
  void answer(const Newcomer& one, Verdict verdict) const {
    Answer told = {.verdict = verdict, .size = uint32_t(as_.size)};
    if (one.challenge && verdict != kOtherSecret)
      told.proof = prove(*key_, bytes_in(said(one, kListens, told.verdict, told.size)));
    send_some(one.socket, bytes_in(told));
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
  std::optional<SecretKey> key_;
  std::optional<SecretFile> secret_file_;  // on rank 0, if no variable gives the secret
  bool stale_ = false;                     // key_ was read from the file, but rank 0 has another
  bool complete_ = false;
  Vigil vigil_;
  LetGo let_go_;
  Socket listener_;
  std::list<Newcomer> newcomers_;
  std::vector<Connections> connections_;
  std::vector<ListenAddress> addresses_;
};

}  // namespace

std::vector<Connections> meet(const LaunchedAs& as, Deadline deadline, const Waiting& waiting) {
  return Meeting(as, deadline, waiting).run();
}

}  // namespace saslm
