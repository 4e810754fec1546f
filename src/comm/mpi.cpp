// Contract: comm/communicator.h. MPI's own calls wait forever, so every operation is non-blocking and polled
// until it is done or the time is up.
#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

#include "comm/host_ranks.h"
#include "core/error.h"

namespace saslm {
namespace {

std::string text_of(int mpi_error) {
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(mpi_error, text, &length);
  return {text, size_t(length)};
}

// MPI from MPI_Init_thread to MPI_Finalize, which must be called by one thread. It has its own thread, since
// MPI_Init_thread waits forever for a missing rank.
class Session {
 public:
  // Throws CommError after the time limit, or StoppedError; the thread then stays blocked until the process
  // ends.
  static std::shared_ptr<Session> begin(const LaunchedAs& as, double timeout_s, const Waiting& waiting) {
    auto session = std::make_shared<Session>();
    std::thread([session] { session->run(); }).detach();
    const std::string limit = std::to_string(int64_t(std::ceil(timeout_s))) + " s (runtime.comm_timeout_s)";
    const std::string others = "the other ranks of " + std::to_string(as.size) + " in MPI_Init_thread";
    const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(timeout_s);
    Vigil vigil(waiting);
    std::unique_lock lock(session->mutex_);
    while (!session->changed_.wait_for(lock, std::chrono::milliseconds(100),
                                       [&] { return session->stage_ != kBeginning; })) {
      if (vigil.stop())
        throw StoppedError(
            "stopped by a signal while waiting for " + others +
            "; nothing was started and there is nothing to save: the same command starts again");
      if (std::chrono::steady_clock::now() > until)
        throw CommError("MPI_Init_thread did not end within " + limit + ": a rank hangs or was not started");
      vigil.go_on([&] {
        return "rank " + std::to_string(as.rank) + " is waiting for " + others + ", for " +
               std::to_string(vigil.lasted().count()) + " s so far, for " + limit +
               " at most. The number of ranks comes from " + as.said_by +
               " in the environment; if that is left over, unset " + as.to_unset;
      });
    }
    if (session->error_ != MPI_SUCCESS) throw CommError("MPI_Init_thread: " + text_of(session->error_));
    return session;
  }
  void end() {
    std::unique_lock lock(mutex_);
    stage_ = kEnding;
    changed_.notify_all();
    changed_.wait(lock, [&] { return stage_ == kEnded; });
  }

 private:
  enum Stage { kBeginning, kBegun, kEnding, kEnded };

  void run() {
    int provided = 0;
    const int error = MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided);
    std::unique_lock lock(mutex_);
    error_ = error;
    stage_ = kBegun;
    changed_.notify_all();
    changed_.wait(lock, [&] { return stage_ == kEnding; });
    MPI_Finalize();
    stage_ = kEnded;
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  Stage stage_ = kBeginning;
  int error_ = MPI_SUCCESS;
};

class Mpi : public HostRanks {
 public:
  Mpi(int rank, int size, double timeout_s, const Waiting& waiting, std::shared_ptr<Session> session)
      : HostRanks(rank, size, timeout_s, waiting), session_(std::move(session)) {}
  ~Mpi() override {
    if (std::uncaught_exceptions() == 0) session_->end();
  }

  void exchange(Stream, std::span<const Exchange> all, const char* doing) const override {
    std::vector<MPI_Request> requests;  // those with one partner are matched in their order
    std::set<int> partners;
    for (const auto& [partner, give, take] : all) {
      partners.insert(partner);
      for (int64_t first = 0; first < std::max(give.size, take.size); first += kMessage) {
        const auto part = [&](int64_t size) { return int(std::clamp<int64_t>(size - first, 0, kMessage)); };
        start(MPI_Irecv(take.data + first, part(take.size), MPI_BYTE, partner, kExchange, MPI_COMM_WORLD,
                        &requests.emplace_back()),
              doing);
        start(MPI_Isend(give.data + first, part(give.size), MPI_BYTE, partner, kExchange, MPI_COMM_WORLD,
                        &requests.emplace_back()),
              doing);
      }
    }
    wait(requests, doing, [&] { return named_ranks({partners.begin(), partners.end()}); });
  }

  void all_reduce(Stream, Vec<float> y, const char* doing) const override {
    for (int64_t first = 0; first < y.size; first += kMessage) {
      MPI_Request request[1];
      start(MPI_Iallreduce(MPI_IN_PLACE, y.data + first, int(std::min(kMessage, y.size - first)), MPI_FLOAT,
                           MPI_SUM, MPI_COMM_WORLD, request),
            doing);
      wait(request, doing, [] { return std::string("another rank"); });
    }
  }

  // Uses messages to all ranks instead of MPI_Iallgather, so that missing ranks are known.
  void gather(std::span<const std::byte> mine, std::span<std::byte> all, const char* doing) const override {
    std::vector<MPI_Request> requests;
    for (int r = 0; r < size(); ++r) {
      std::byte* const theirs = all.data() + size_t(r) * mine.size();
      if (r == rank()) {
        std::copy(mine.begin(), mine.end(), theirs);
        continue;
      }
      requests.resize(requests.size() + 2);
      start(MPI_Irecv(theirs, int(mine.size()), MPI_BYTE, r, kGather, MPI_COMM_WORLD, &requests.end()[-2]),
            doing);
      start(
          MPI_Isend(mine.data(), int(mine.size()), MPI_BYTE, r, kGather, MPI_COMM_WORLD, &requests.end()[-1]),
          doing);
    }
    wait(requests, doing, [&] {
      std::string missing;
      for (size_t i = 0; i < requests.size(); i += 2)
        if (requests[i] != MPI_REQUEST_NULL)
          missing +=
              (missing.empty() ? "rank " : ", rank ") + std::to_string(int(i / 2) + (int(i / 2) >= rank()));
      return missing;
    });
  }

  void collect(std::span<const std::byte> mine, std::span<std::byte> all, const char* doing) const override {
    check(all.size() == (first() ? mine.size() * size_t(size()) : 0),
          "the first rank collects what all give");
    std::vector<MPI_Request> requests;
    if (!first())
      start(MPI_Isend(mine.data(), int(mine.size()), MPI_BYTE, 0, kGather, MPI_COMM_WORLD,
                      &requests.emplace_back()),
            doing);
    else
      std::copy(mine.begin(), mine.end(), all.begin());
    for (int r = 1; first() && r < size(); ++r)
      start(MPI_Irecv(all.data() + size_t(r) * mine.size(), int(mine.size()), MPI_BYTE, r, kGather,
                      MPI_COMM_WORLD, &requests.emplace_back()),
            doing);
    wait(requests, doing, [&] {
      std::vector<int> missing;
      for (size_t i = 0; i < requests.size(); ++i)
        if (requests[i] != MPI_REQUEST_NULL) missing.push_back(first() ? int(i) + 1 : 0);
      return named_ranks(missing);
    });
  }

 private:
  enum Tag { kExchange = 1, kGather, kWaiting };
  static constexpr int64_t kMessage = int64_t(1) << 28;  // elements a message; MPI counts in int

  void start(int mpi_error, const char* doing) const {
    if (mpi_error != MPI_SUCCESS) throw CommError(said(doing) + text_of(mpi_error));
  }

  void say_waiting() const override {
    for (int r = 0; r < size(); ++r) {
      if (r == rank()) continue;
      MPI_Request request;
      if (MPI_Isend(nullptr, 0, MPI_BYTE, r, kWaiting, MPI_COMM_WORLD, &request) == MPI_SUCCESS)
        MPI_Request_free(&request);
    }
  }
  std::set<int> heard_waiting() const override {
    std::set<int> ranks;
    for (int there = 0;;) {
      MPI_Status status;
      MPI_Iprobe(MPI_ANY_SOURCE, kWaiting, MPI_COMM_WORLD, &there, &status);
      if (!there) return ranks;
      MPI_Recv(nullptr, 0, MPI_BYTE, status.MPI_SOURCE, kWaiting, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
      ranks.insert(status.MPI_SOURCE);
    }
  }
  void check_alive(const char*) const override {}  // mpirun ends all ranks if one is gone

  template <class Requests>
  void wait(Requests& requests, const char* doing, const std::function<std::string()>& awaited) const {
    const auto done = [&] {
      // One by one, to know which have arrived.
      bool all = true;
      for (MPI_Request& request : requests) {
        int arrived = 0;
        start(MPI_Test(&request, &arrived, MPI_STATUS_IGNORE), doing);
        all = all && arrived;
      }
      return all;
    };
    wait_until(done, doing, awaited);
  }

  const std::shared_ptr<Session> session_;
};

}  // namespace

std::unique_ptr<HostRanks> join_mpi(const LaunchedAs& as, double timeout_s, const Waiting& waiting) {
  const std::shared_ptr<Session> session = Session::begin(as, timeout_s, waiting);
  int rank = 0, size = 1;
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  if (size != as.size)
    throw ConfigError("the launcher announced " + std::to_string(as.size) + " ranks (" + as.said_by +
                      "), but MPI joined " + std::to_string(size) +
                      ": start them with the mpirun of the MPI that saslm was built with; or, if no launcher "
                      "starts several ranks, unset " +
                      as.to_unset);
  return std::make_unique<Mpi>(rank, size, timeout_s, waiting, session);
}

void abort_ranks(int exit_code) {
  int joined = 0, ended = 0;
  MPI_Initialized(&joined);
  MPI_Finalized(&ended);
  if (joined && !ended) MPI_Abort(MPI_COMM_WORLD, exit_code);
}

}  // namespace saslm
