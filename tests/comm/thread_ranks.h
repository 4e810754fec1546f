// Ranks that are threads of one process, and the room of host memory that they share.
#pragma once
#include <algorithm>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>

#include "comm/host_ranks.h"
#include "core/error.h"

namespace saslm {

struct Meeting {
  std::mutex mutex;
  std::map<int64_t, std::map<int, std::vector<std::byte>>> gathered;  // by number of the gather, by rank
  std::map<int, std::set<int>> heard;                                 // by listener: who waits
  std::set<int> gone;
};

class ThreadRank : public HostRanks {
 public:
  ThreadRank(Meeting& meeting, int rank, int size, double timeout_s)
      : HostRanks(rank, size, timeout_s), meeting_(meeting) {}

  void exchange(Stream, std::span<const Exchange>, const char*) const override {
    throw ShapeError("threads exchange nothing but what they gather");
  }
  void gather(std::span<const std::byte> mine, std::span<std::byte> all, const char* doing) const override {
    const int64_t number = gathers_++;
    {
      const std::lock_guard lock(meeting_.mutex);
      meeting_.gathered[number][rank()].assign(mine.begin(), mine.end());
    }
    const auto complete = [&] {
      const std::lock_guard lock(meeting_.mutex);
      return int(meeting_.gathered[number].size()) == size();
    };
    wait_until(complete, doing, [] { return std::string("another thread"); });
    const std::lock_guard lock(meeting_.mutex);
    for (const auto& [rank, bytes] : meeting_.gathered[number])
      std::copy(bytes.begin(), bytes.end(), all.begin() + long(size_t(rank) * mine.size()));
  }

 private:
  void say_waiting() const override {
    const std::lock_guard lock(meeting_.mutex);
    for (int r = 0; r < size(); ++r)
      if (r != rank()) meeting_.heard[r].insert(rank());
  }
  std::set<int> heard_waiting() const override {
    const std::lock_guard lock(meeting_.mutex);
    return std::exchange(meeting_.heard[rank()], {});
  }
  void check_alive(const char* doing) const override {
    const std::lock_guard lock(meeting_.mutex);
    if (!meeting_.gone.empty())
      throw CommError(said(doing) + "rank " + std::to_string(*meeting_.gone.begin()) + " is gone");
  }

  Meeting& meeting_;
  mutable int64_t gathers_ = 0;
};

// run(room) as each of `size` ranks; what each died of, "" of those that did not.
inline std::vector<std::string> run_ranks(int size, double timeout_s,
                                          const std::function<void(std::unique_ptr<HostRanks>)>& run) {
  Meeting meeting;
  std::vector<std::string> errors(static_cast<size_t>(size));
  std::vector<std::thread> threads;
  for (int r = 0; r < size; ++r)
    threads.emplace_back([&, r] {
      try {
        run(std::make_unique<ThreadRank>(meeting, r, size, timeout_s));
      } catch (const std::exception& e) {
        errors[size_t(r)] = e.what();
      }
    });
  for (std::thread& thread : threads) thread.join();
  return errors;
}

}  // namespace saslm
