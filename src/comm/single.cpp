#include <cstring>

#include "comm/host_ranks.h"
#include "core/error.h"

namespace saslm {
namespace {

class Single : public HostRanks {
 public:
  explicit Single(double timeout_s) : HostRanks(0, 1, timeout_s) {}
  void exchange(Stream, std::span<const Exchange>, const char*) const override {
    throw ShapeError("internal error: a single rank has no partner");
  }
  void gather(std::span<const std::byte> mine, std::span<std::byte> all, const char*) const override {
    check(all.size() == mine.size(), "a single rank gathers its own");
    if (!mine.empty()) std::memcpy(all.data(), mine.data(), mine.size());
  }

 private:
  void say_waiting() const override {}
  std::set<int> heard_waiting() const override { return {}; }
  void check_alive(const char*) const override {}
};

}  // namespace

void Communicator::all_reduce(Stream, Vec<float>, const char* doing) const {
  throw ConfigError("in the " + std::string(doing) +
                    ": the ranks are not joined by a library with an all-reduce; set runtime.gradient_sum to "
                    "fixed, or start the ranks with mpirun");
}

void Communicator::collect(std::span<const std::byte> mine, std::span<std::byte> all,
                           const char* doing) const {
  std::vector<std::byte> everywhere(first() ? 0 : mine.size() * size_t(size()));
  gather(mine, first() ? all : std::span(everywhere), doing);
}

const Communicator& single_rank() {
  static const Single kSingle(0);  // waits for nobody
  return kSingle;
}

std::unique_ptr<HostRanks> room_of_one(double timeout_s) {
  return std::make_unique<Single>(timeout_s);
}

std::vector<double> gather_numbers(const Communicator& comm, const std::vector<double>& mine,
                                   const char* doing) {
  std::vector<double> all(mine.size() * size_t(comm.size()));
  comm.gather(std::as_bytes(std::span(mine)), std::as_writable_bytes(std::span(all)), doing);
  return all;
}

std::vector<std::string> gather_texts(const Communicator& comm, const std::string& mine, const char* doing) {
  const size_t ranks = size_t(comm.size());
  const double length = double(mine.size());
  const std::vector<double> lengths = gather_numbers(comm, {length}, doing);
  size_t longest = 0;
  for (const double l : lengths) longest = std::max(longest, size_t(l));
  std::string padded = mine, all(longest * ranks, '\0');
  padded.resize(longest);
  comm.gather(std::as_bytes(std::span(padded)), std::as_writable_bytes(std::span(all)), doing);
  std::vector<std::string> texts;
  for (size_t r = 0; r < ranks; ++r) texts.push_back(all.substr(r * longest, size_t(lengths[r])));
  return texts;
}

}  // namespace saslm
