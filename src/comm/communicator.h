// Communication between ranks, the processes 0 .. size()-1 that train one model together. All ranks make
// every call in the same order. If a rank does not answer within the time limit, or its connection fails, the
// lowest waiting rank gets a CommError that names the other rank and the operation; other waiting ranks get a
// PeerError.
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
  bool first() const { return rank_ == 0; }  // rank 0, which writes files and prints

  // Exchanges data with a partner, who makes the mirrored call: `take` (=) the partner's `give`, and vice
  // versa; either may be empty. Backend memory, in stream order. `doing` names the operation in errors.
  void exchange(Stream stream, int partner, Vec<const float> give, Vec<float> take, const char* doing) const {
    const Exchange one{partner, bytes_of(give), bytes_of(take)};
    exchange(stream, {&one, 1}, doing);
  }
  // Several exchanges at once; none may touch memory that another one writes. Exchanges with one partner are
  // matched in order, and the lists of all ranks must be in an order in which they could also be made one by
  // one.
  virtual void exchange(Stream, std::span<const Exchange>, const char* doing) const = 0;

  // All-reduce by the library (MPI, NCCL): y (=) the sum over all ranks, in an order that may depend on their
  // number. ConfigError without such a library, also if y is empty.
  virtual void all_reduce(Stream, Vec<float> y, const char* doing) const;

  // Waits until the stream's queued work is done, or until the ranks it needs fail to answer. A CPU queues
  // nothing.
  virtual void wait(Stream, const char* /*doing*/) const {}

  // Called by a rank that cannot continue, with the reason: its queued work must no longer wait for other
  // ranks. No other call may follow.
  virtual void abandon(const std::exception& /*why*/) const {}

  // All-gather: all (size() * mine.size() bytes) = every rank's `mine`, in rank order. Host memory; blocking.
  virtual void gather(std::span<const std::byte> mine, std::span<std::byte> all, const char* doing) const = 0;

  // Gather: the same, but only on rank 0; on other ranks `all` is empty.
  virtual void collect(std::span<const std::byte> mine, std::span<std::byte> all, const char* doing) const;

 private:
  int rank_, size_;
};

// All ranks' numbers, in rank order.
std::vector<double> gather_numbers(const Communicator& comm, const std::vector<double>& mine,
                                   const char* doing);
// One struct of doubles from every rank, in rank order.
template <class Numbers>
std::vector<Numbers> gather_structs(const Communicator& comm, const Numbers& mine, const char* doing) {
  static_assert(std::is_trivially_copyable_v<Numbers> && sizeof(Numbers) % sizeof(double) == 0);
  std::vector<Numbers> all(static_cast<size_t>(comm.size()));
  comm.gather(std::as_bytes(std::span(&mine, 1)), std::as_writable_bytes(std::span(all)), doing);
  return all;
}
// All ranks' texts, of any length.
std::vector<std::string> gather_texts(const Communicator& comm, const std::string& mine, const char* doing);

// The communicator of a single rank.
const Communicator& single_rank();

// What a launcher has set in this process's environment; size 1 without a launcher.
struct LaunchedAs {
  int rank = 0, size = 1;
  int local_rank = 0, local_size = 1;  // among the ranks on this machine
  bool launched = false;               // a launcher started several ranks, or may have
  std::string master_host;             // where rank 0 listens; empty: the ranks meet through MPI
  int master_port = 0;
  int listener = -1;  // a listening descriptor, inherited if `saslm train --ranks` started the ranks; else -1
  std::optional<SecretKey> secret;  // known only to the ranks of this run
  std::string shared_dir;  // set by the caller: the folder in which rank 0 writes a secret if there is none
  std::string said_by;  // "RANK=0, WORLD_SIZE=2, ...": the variables that were used; empty without a launcher
  std::string to_unset;  // "RANK WORLD_SIZE": all variables to unset to run without a launcher
};
// Reads the variables of torchrun (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT; also set by hand), Open MPI's
// mpirun, MPICH's mpiexec and srun, in this order. ConfigError names a malformed or missing variable, and
// those to unset if there is no launcher.
LaunchedAs launched_as();

// Joins the ranks that a launcher started, over sockets or MPI. Call once per process; returns nullptr for a
// single rank. ConfigError, CommError and StoppedError as in comm/meeting.h; ConfigError in a build without
// MPI, or with another MPI than the launcher's. `waiting` also applies to all later waits.
std::unique_ptr<HostRanks> join_ranks(const LaunchedAs&, double timeout_s, const Waiting& waiting = {});
// For several ranks with a master_host.
std::unique_ptr<HostRanks> join_sockets(const LaunchedAs&, double timeout_s, const Waiting& waiting = {});
std::unique_ptr<HostRanks> join_mpi(const LaunchedAs&, double timeout_s, const Waiting& waiting = {});
// Ends all MPI ranks at once, for a rank that cannot continue. Does nothing without MPI: over sockets, the
// destructor tells the other ranks.
void abort_ranks(int exit_code);

}  // namespace saslm
