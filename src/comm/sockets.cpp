// Contract: comm/communicator.h. Every message starts with its size, so ranks that are out of step detect it
// instead of confusing messages. A message that no collective expects yet stays in the socket.
//
// How the end of a rank is told. `control` carries words of one byte; a rank that ends says how, and its
// connections close, which no rank can forget: so an end without a word is a rank that was lost. All others
// see that by themselves. The lowest of them reports it, the others end quietly; where this program's own
// launcher started all, it reports how the rank was lost, and the ranks say nothing.
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <exception>
#include <thread>

#include "comm/host_ranks.h"
#include "comm/meeting.h"
#include "core/error.h"

namespace saslm {
namespace {

using std::chrono::milliseconds;

constexpr int kPollMs = 20;
constexpr milliseconds kSettles(200);  // time for news about an ended rank to reach all ranks

enum class Word : uint8_t {
  none,
  waiting = 'w',
  finished = 'f',  // and now its end:
  failed = 'e',    //   for a reason that it says
  quits = 'q',     //   for a reason that another rank says
};

struct Peer {
  Socket control, data;
  bool waits = false;  // it has said so since the last query
  Word last = Word::none;
  bool lost() const { return !control && last == Word::none; }
  bool there() const { return control && last == Word::none; }
};

// One exchange with a partner, and its progress.
struct Transfer {
  int rank;
  std::span<const std::byte> give;
  std::span<std::byte> take;
  uint64_t give_bytes = give.size(), take_bytes = 0;  // as they precede the parts
  size_t given = 0, taken = 0;                        // sizes included

  static constexpr size_t kSize = sizeof(uint64_t);
  bool all_given() const { return given == kSize + give.size(); }
  bool all_taken() const { return taken == kSize + take.size(); }
  bool done() const { return all_given() && all_taken(); }
};

// The parts, from byte `from` on.
template <class Byte>
int parts_from(size_t from, std::span<Byte> first, std::span<Byte> second, std::array<iovec, 2>& parts) {
  int count = 0;
  for (std::span<Byte> part : {first, second}) {
    const size_t skipped = std::min(from, part.size());
    from -= skipped;
    part = part.subspan(skipped);
    if (!part.empty()) parts[size_t(count++)] = {const_cast<std::byte*>(part.data()), part.size()};
  }
  return count;
}

class Sockets : public HostRanks {
 public:
  Sockets(const LaunchedAs& as, double timeout_s, const Waiting& waiting,
          std::vector<Connections> connections)
      : HostRanks(as.rank, as.size, timeout_s, waiting),
        launcher_says_(as.listener >= 0),
        peers_(connections.size()) {
    for (size_t r = 0; r < peers_.size(); ++r) {
      peers_[r].control = std::move(connections[r].control);
      peers_[r].data = std::move(connections[r].data);
    }
  }
  ~Sockets() override {
    const bool well = std::uncaught_exceptions() == 0;
    say(well ? Word::finished : another_says() ? Word::quits : Word::failed);
  }

  void exchange(Stream, std::span<const Exchange> all, const char* doing) const override {
    std::vector<Transfer> round;  // no two with one partner: they share a connection
    for (const auto& [partner, give, take] : all) {
      const auto with_partner = [rank = partner](const Transfer& one) { return one.rank == rank; };
      if (std::any_of(round.begin(), round.end(), with_partner)) {
        carry(round, doing);
        round.clear();
      }
      round.push_back(
          {partner, std::span(give.data, size_t(give.size)), std::span(take.data, size_t(take.size))});
    }
    carry(round, doing);
  }

  void gather(std::span<const std::byte> mine, std::span<std::byte> all, const char* doing) const override {
    check(all.size() == mine.size() * size_t(size()), "a gather has room for what every rank gives");
    std::vector<Transfer> transfers;
    for (int r = 0; r < size(); ++r) {
      const std::span<std::byte> theirs = all.subspan(size_t(r) * mine.size(), mine.size());
      if (r == rank())
        std::copy(mine.begin(), mine.end(), theirs.begin());
      else
        transfers.push_back({r, mine, theirs});
    }
    carry(transfers, doing);
  }

  void collect(std::span<const std::byte> mine, std::span<std::byte> all, const char* doing) const override {
    check(all.size() == (first() ? mine.size() * size_t(size()) : 0),
          "the first rank collects what all give");
    std::vector<Transfer> transfers;
    if (!first()) transfers.push_back({0, mine, {}});
    for (int r = 1; first() && r < size(); ++r)
      transfers.push_back({r, {}, all.subspan(size_t(r) * mine.size(), mine.size())});
    if (first()) std::copy(mine.begin(), mine.end(), all.begin());
    carry(transfers, doing);
  }

 private:
  void carry(std::span<Transfer> transfers, const char* doing) const {
    const auto done = [&] {
      polled_.clear();
      for (Transfer& one : transfers)
        while (!one.done() && progress(one, doing)) {
        }
      return polled_.empty();
    };
    const auto awaited = [&] {
      std::string ranks;
      for (const Transfer& one : transfers)
        if (!one.done()) ranks += (ranks.empty() ? "rank " : ", rank ") + std::to_string(one.rank);
      return ranks;
    };
    wait_until(done, doing, awaited);
  }

  // Sends and receives what is possible without blocking. False if that was nothing; rest() then also waits
  // for this transfer.
  bool progress(Transfer& one, const char* doing) const {
    const int fd = peers_[size_t(one.rank)].data.fd();
    std::array<iovec, 2> parts;
    msghdr message = {};
    message.msg_iov = parts.data();
    ssize_t sent = 0, received = 0;
    if (!one.all_given()) {
      message.msg_iovlen =
          size_t(parts_from(one.given, std::as_bytes(std::span(&one.give_bytes, 1)), one.give, parts));
      sent = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent < 0 && ended(errno)) return without(one, doing);
      one.given += size_t(std::max<ssize_t>(sent, 0));
    }
    if (!one.all_taken()) {
      // The size by itself, since until it is known what follows may be anything.
      const std::span<std::byte> size = std::as_writable_bytes(std::span(&one.take_bytes, 1));
      const bool sized = one.taken >= Transfer::kSize;
      message.msg_iovlen =
          size_t(parts_from(one.taken, size, sized ? one.take : std::span<std::byte>(), parts));
      received = recvmsg(fd, &message, MSG_DONTWAIT);
      if (received == 0 || (received < 0 && ended(errno))) return without(one, doing);
      one.taken += size_t(std::max<ssize_t>(received, 0));
      if (!sized && one.taken == Transfer::kSize && one.take_bytes != one.take.size())
        throw CommError(said(doing) + "rank " + std::to_string(one.rank) + " gives " +
                        std::to_string(one.take_bytes) + " bytes where " + std::to_string(one.take.size()) +
                        " were expected: the ranks are out of step");
    }
    if (sent > 0 || received > 0) return true;
    polled_.push_back({fd, short((one.all_given() ? 0 : POLLOUT) | (one.all_taken() ? 0 : POLLIN)), 0});
    return false;
  }
  static bool ended(int error) { return error != EAGAIN && error != EWOULDBLOCK && error != EINTR; }

  // Handles a rank that closed a connection that is still needed. If it quit because of a third rank, waits
  // until the third is known to be gone, or the time is up.
  bool without(const Transfer& one, const char* doing) const {
    const Peer& peer = peers_[size_t(one.rank)];
    for (const Deadline until = Clock::now() + kSettles; peer.there() && Clock::now() < until; hear())
      std::this_thread::sleep_for(milliseconds(1));
    check_alive(doing);
    if (peer.last != Word::quits)
      throw CommError(
          said(doing) + "rank " + std::to_string(one.rank) +
          (peer.last == Word::finished
               ? " has already finished: the ranks are out of step"
               : " has lost its connection; the same command continues from the newest checkpoint"));
    polled_.push_back({-1, 0, 0});
    return false;
  }

  void rest(double waited_s) const override {
    if (polled_.empty()) return HostRanks::rest(waited_s);  // waiting for something else
    poll(polled_.data(), polled_.size(), kPollMs);
  }

  void say(Word word) const {
    const std::byte byte{uint8_t(word)};
    for (const Peer& peer : peers_)
      if (peer.control) send_some(peer.control, {&byte, 1});
  }
  void say_waiting() const override { say(Word::waiting); }

  std::set<int> heard_waiting() const override {
    hear();
    std::set<int> ranks;
    for (int r = 0; r < size(); ++r)
      if (Peer& peer = peers_[size_t(r)]; std::exchange(peer.waits, false) || peer.last == Word::quits)
        ranks.insert(r);
    return ranks;
  }

  // Reads all words that have arrived.
  void hear() const {
    for (Peer& peer : peers_) {
      std::array<std::byte, 64> words;
      while (peer.control) {
        const std::optional<size_t> count = receive_some(peer.control, words);
        if (!count) peer.control.close();
        if (!count || *count == 0) break;
        for (const std::byte word : std::span(words).first(*count))
          if (Word(word) == Word::waiting)
            peer.waits = true;
          else
            peer.last = Word(word);
      }
    }
  }

  void check_alive(const char* doing) const override {
    hear();
    const auto any = [&](auto is) { return std::any_of(peers_.begin(), peers_.end(), is); };
    const auto lost = [&](const Peer& peer) { return &peer != &peers_[size_t(rank())] && peer.lost(); };
    if (!any(lost) && !any([](const Peer& peer) { return peer.last == Word::failed; })) return;
    std::this_thread::sleep_for(kSettles);
    hear();
    if (launcher_says_ || any([](const Peer& peer) { return peer.last == Word::failed; })) let_another_say();
    std::string ranks;
    for (int r = 0; r < size(); ++r) {
      const Peer& peer = peers_[size_t(r)];
      if (r < rank() && peer.there()) let_another_say();
      if (lost(peer)) ranks += (ranks.empty() ? "rank " : ", rank ") + std::to_string(r);
    }
    throw CommError(said(doing) + ranks +
                    " ended without an error message: killed, crashed, or its machine or network is gone. "
                    "The same command continues from the newest checkpoint");
  }

  const bool launcher_says_;
  mutable std::vector<Peer> peers_;     // by rank
  mutable std::vector<pollfd> polled_;  // of the transfers that wait
};

}  // namespace

std::unique_ptr<HostRanks> join_sockets(const LaunchedAs& as, double timeout_s, const Waiting& waiting) {
  const auto limit = std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(timeout_s));
  return std::make_unique<Sockets>(as, timeout_s, waiting, meet(as, Clock::now() + limit, waiting));
}

std::unique_ptr<HostRanks> join_ranks(const LaunchedAs& as, double timeout_s, const Waiting& waiting) {
  if (as.size == 1) return nullptr;
  return as.master_host.empty() ? join_mpi(as, timeout_s, waiting) : join_sockets(as, timeout_s, waiting);
}

}  // namespace saslm
