// Ranks: the processes that train one model together, numbered 0 .. size()-1, and how they talk. Every call
// is made by all ranks in the same order. A rank that does not answer within the time limit, or whose
// connection fails, ends the call with a CommError that names the other rank and what was being done, on the
// lowest rank that waits; on others that wait, with PeerError.
//
//   single.cpp   one rank, which talks to nobody
//   sockets.cpp  ranks that know where rank 0 listens, over TCP
//   mpi.cpp      CPU ranks, under mpirun or a launcher that speaks its protocol
//   nccl.cpp     GPU ranks, over one of these (comm/nccl.h)
#pragma once
#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "comm/secret.h"
#include "comm/waiting.h"
#include "core/stream.h"
#include "core/view.h"

namespace saslm {

class HostRanks;

template <class X>
auto bytes_of(Vec<X> x) {
  using Byte = std::conditional_t<std::is_const_v<X>, const std::byte, std::byte>;
  return Vec<Byte>{reinterpret_cast<Byte*>(x.data), x.size * int64_t(sizeof(X))};
}

struct Exchange {
  int partner = 0;
  Vec<const std::byte> give;  // memory of the backend, as what is taken
  Vec<std::byte> take;
};

class Communicator {
 public:
  Communicator(int rank, int size) : rank_(rank), size_(size) {}
  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  bool first() const { return rank_ == 0; }  // the one that writes files and speaks

  // take (=) what the partner gives, and the partner's take is what this rank gives: backend memory, in the
  // stream's order. The partner makes the mirrored call; either part may be empty. `doing` says what for, in
  // errors.
  void exchange(Stream stream, int partner, Vec<const float> give, Vec<float> take, const char* doing) const {
    const Exchange one{partner, bytes_of(give), bytes_of(take)};
    exchange(stream, {&one, 1}, doing);
  }
  // Several at once, of which none may touch what another takes. Those with one partner are matched in their
  // order; and all ranks' calls list theirs in an order that they could be made in one by one.
  virtual void exchange(Stream, std::span<const Exchange>, const char* doing) const = 0;

  // y (=) the sum over all ranks as the room's library does it: in an order that may depend on their number.
  // ConfigError where there is no such library, also when y is empty.
  virtual void all_reduce(Stream, Vec<float> y, const char* doing) const;

  // Waits until all that was queued on the stream is done, or until the ranks it needs fail to answer. On a
  // CPU nothing is queued.
  virtual void wait(Stream, const char* /*doing*/) const {}

  // For a rank that cannot go on, and says why: what it has queued shall wait for no other rank any more. No
  // other call is made afterwards.
  virtual void abandon(const std::exception& /*why*/) const {}

  // all (size() * mine.size() bytes) = every rank's `mine`, in the order of ranks. Host memory; waits.
  virtual void gather(std::span<const std::byte> mine, std::span<std::byte> all, const char* doing) const = 0;

  // The same for the first rank alone: the others' `all` is empty, and stays so.
  virtual void collect(std::span<const std::byte> mine, std::span<std::byte> all, const char* doing) const;

 private:
  int rank_, size_;
};

// Every rank's numbers, all of one rank before the next rank's.
std::vector<double> gather_numbers(const Communicator& comm, const std::vector<double>& mine,
                                   const char* doing);
// Every rank's text, of any length.
std::vector<std::string> gather_texts(const Communicator& comm, const std::string& mine, const char* doing);

// The rank that is alone.
const Communicator& single_rank();

// What a launcher has put into this process's environment; size 1 without one.
struct LaunchedAs {
  int rank = 0, size = 1;
  int local_rank = 0, local_size = 1;  // among the ranks on this machine
  bool launched = false;               // there is one that started several, or may have
  std::string master_host;             // where rank 0 listens; empty: they meet by MPI
  int master_port = 0;
  int listener = -1;  // a descriptor that listens there: this program's own launcher started all
  std::optional<SecretKey> secret;  // that all ranks of this run have, and nobody else
  std::string shared_dir;  // the caller's: where rank 0 writes one for the others to read, if there is none
  std::string said_by;     // "RANK=0, WORLD_SIZE=2, ...": what says so; empty without a launcher
  std::string to_unset;    // "RANK WORLD_SIZE": what says it, and all else that then would
};
// Follows torchrun (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT; so can anyone by hand), Open MPI's mpirun,
// MPICH's mpiexec and srun, in this order. ConfigError names a variable that is malformed or missing, and
// those to unset where there is no launcher.
LaunchedAs launched_as();

// Joins the ranks that a launcher started beside this one, by sockets or MPI; once in a process; nothing for
// one rank alone. ConfigError, CommError and StoppedError as in comm/meeting.h; ConfigError in a build
// without MPI, or with another MPI than the launcher's. `waiting` counts for all later waits, too.
std::unique_ptr<HostRanks> join_ranks(const LaunchedAs&, double timeout_s, const Waiting& waiting = {});
// Of several, with a master_host.
std::unique_ptr<HostRanks> join_sockets(const LaunchedAs&, double timeout_s, const Waiting& waiting = {});
std::unique_ptr<HostRanks> join_mpi(const LaunchedAs&, double timeout_s, const Waiting& waiting = {});
// Ends all ranks of MPI at once: for the one that cannot go on. Does nothing elsewhere: ranks over sockets
// learn it from the room's destructor.
void abort_ranks(int exit_code);

}  // namespace saslm
