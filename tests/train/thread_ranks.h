// Ranks that are threads of one process, and talk through its memory. One runs at a time, the others wait for
// it or for its messages: so that what is made for one thread, as the SIMT layer is, serves them all.
#pragma once
#include <omp.h>

#include <condition_variable>
#include <cstring>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "comm/communicator.h"
#include "core/error.h"
#include "ops/ops.h"

namespace saslm {

class ThreadRanks {
 public:
  // What they exchange is memory of this backend.
  template <class T>
  ThreadRanks(int size, const Ops<T>& ops) : size_(size), copy_in_(ops.copy_in), copy_out_(ops.copy_out) {}

  int64_t sent_bytes = 0;  // by all ranks to others

  // Hears of every call, in its rank's thread. gather has no queue.
  std::function<void(Stream stream, const char* doing)> on_call;

  // work(comm) on every rank. The first error of any is thrown here; the others then hear that it is gone.
  void run(const std::function<void(const Communicator&)>& work) {
    std::vector<std::thread> threads;
    for (int rank = 0; rank < size_; ++rank)
      threads.emplace_back([this, rank, &work] {
        std::unique_lock turn(turn_);
        omp_set_num_threads(1);
        try {
          work(Rank(*this, rank, turn));
        } catch (...) {
          if (!error_) error_ = std::current_exception();
          arrived_.notify_all();
        }
      });
    for (std::thread& thread : threads) thread.join();
    if (error_) std::rethrow_exception(error_);
  }

 private:
  using Bytes = std::vector<std::byte>;

  class Rank : public Communicator {
   public:
    Rank(ThreadRanks& all, int rank, std::unique_lock<std::mutex>& turn)
        : Communicator(rank, all.size_), all_(all), turn_(turn) {}

    void exchange(Stream stream, std::span<const Exchange> all, const char* doing) const override {
      called(stream, doing);
      for (const auto& [partner, give, take] : all) {
        Bytes given(size_t(give.size));
        all_.copy_out_(stream, given.data(), give.data, given.size());
        send(partner, given);
      }
      for (const auto& [partner, give, take] : all) {
        Bytes taken(size_t(take.size));
        receive(partner, taken);
        all_.copy_in_(stream, take.data, taken.data(), taken.size());
      }
    }
    void all_reduce(Stream stream, Vec<float> y, const char* doing) const override {
      called(stream, doing);
      const size_t n = size_t(y.size);
      std::vector<float> mine(n), all(n * size_t(size()));
      all_.copy_out_(stream, mine.data(), y.data, n * sizeof(float));
      gather(std::as_bytes(std::span(mine)), std::as_writable_bytes(std::span(all)), doing);
      for (size_t i = 0; i < n; ++i) {
        mine[i] = all[i];
        for (size_t r = 1; r < size_t(size()); ++r) mine[i] += all[r * n + i];
      }
      all_.copy_in_(stream, y.data, mine.data(), n * sizeof(float));
    }
    void gather(std::span<const std::byte> mine, std::span<std::byte> all, const char* doing) const override {
      called({}, doing);
      for (int r = 0; r < size(); ++r) send(r, mine);
      for (int r = 0; r < size(); ++r) receive(r, all.subspan(size_t(r) * mine.size(), mine.size()));
    }
    void collect(std::span<const std::byte> mine, std::span<std::byte> all,
                 const char* doing) const override {
      called({}, doing);
      send(0, mine);
      for (int r = 0; first() && r < size(); ++r)
        receive(r, all.subspan(size_t(r) * mine.size(), mine.size()));
    }
    void wait(Stream stream, const char* doing) const override { called(stream, doing); }

   private:
    void called(Stream stream, const char* doing) const {
      if (all_.on_call) all_.on_call(stream, doing);
    }
    void send(int to, std::span<const std::byte> bytes) const {
      if (to != rank()) all_.sent_bytes += int64_t(bytes.size());
      all_.mail_[{rank(), to}].emplace_back(bytes.begin(), bytes.end());
      all_.arrived_.notify_all();
    }
    void receive(int from, std::span<std::byte> bytes) const {
      std::deque<Bytes>& mail = all_.mail_[{from, rank()}];
      all_.arrived_.wait(turn_, [&] { return !mail.empty() || all_.error_; });
      if (mail.empty()) throw PeerError();
      check(mail.front().size() == bytes.size(), "a rank takes as much as its partner gives");
      if (!bytes.empty()) std::memcpy(bytes.data(), mail.front().data(), bytes.size());
      mail.pop_front();
    }

    ThreadRanks& all_;
    std::unique_lock<std::mutex>& turn_;
  };

  int size_;
  void (*copy_in_)(Stream, void*, const void*, size_t);
  void (*copy_out_)(Stream, void*, const void*, size_t);
  std::mutex turn_;  // of the one that runs
  std::condition_variable arrived_;
  std::map<std::pair<int, int>, std::deque<Bytes>> mail_;  // (from, to)
  std::exception_ptr error_;
};

}  // namespace saslm
