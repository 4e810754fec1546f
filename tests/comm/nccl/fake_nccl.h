// A stand-in for NCCL: one rank's part of it, which writes down every call, moves real data between the ranks
// of a FakeWorld, and fails, dawdles or hangs as it is told. It holds its caller to the rules of
// communicators that do not block: while one is in progress, it may be asked about and aborted, and no more.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "comm/nccl_api.h"

namespace saslm {

// What the ranks' parts share: messages on their way, and sums.
struct FakeWorld {
  std::mutex mutex;
  std::map<std::pair<int, int>, std::deque<std::vector<std::byte>>> mail;  // from, to
  std::map<int, std::map<int, std::vector<float>>> terms;                  // of each sum, by rank
};

class FakeNccl {
 public:
  static constexpr const char* kWords = "the cable is out";

  explicit FakeNccl(FakeWorld& world) : world_(world) { at_hand = this; }
  ~FakeNccl() {
    EXPECT_FALSE(group_) << "a group was left open";
    let_abort_end = true;
    while (aborts_begun != aborts_ended) std::this_thread::yield();  // aside, in another thread
    at_hand = nullptr;
  }
  FakeNccl(const FakeNccl&) = delete;
  FakeNccl& operator=(const FakeNccl&) = delete;

  // How it behaves.
  int polls = 0;         // a call is in progress for so many questions
  int fails_at = -1;     // this call, counting all
  int hangs_at = -1;     // from this call on all are in progress for ever
  int breaks_at = -1;    // from this call on the communicator's state is an error
  int busy_queries = 0;  // the stream is busy for so many questions; negative: for ever
  bool abort_hangs = false;
  int version = NCCL_VERSION_CODE;

  std::vector<std::string> calls;
  std::atomic<int> aborts_begun = 0;
  int destroyed = 0;

  // The calls in one line; how often it was asked in between does not count.
  std::string story() const {
    std::string text;
    for (size_t i = 0; i < calls.size(); ++i)
      if (i == 0 || calls[i] != "ask" || calls[i - 1] != "ask") text += (i ? ", " : "") + calls[i];
    return text;
  }

  static NcclApi api();
  cudaStream_t stream() { return reinterpret_cast<cudaStream_t>(this); }

 private:
  struct Take {
    std::byte* data;
    size_t size;
    int from;
  };
  struct Sum {
    float* data;
    size_t size;
  };

  static FakeNccl& of(ncclComm_t comm) { return *reinterpret_cast<FakeNccl*>(comm); }

  // Writes a call down; whether it may go on. `free`: also while in progress.
  bool enter(const std::string& call, bool free = false) {
    const int number = int(calls.size());
    calls.push_back(call);
    EXPECT_TRUE(free || left_ == 0) << call << " while in progress";
    EXPECT_EQ(aborts_begun + destroyed, 0) << call << " on a communicator that is gone";
    if (number == hangs_at) hung_ = true;
    if (number == breaks_at) broken_ = true;
    return number != fails_at;
  }
  // What a call that began something returns.
  ncclResult_t begun() {
    left_ = hung_ ? 1 : polls;
    if (left_ == 0 && !move_data()) left_ = 1;
    return left_ > 0 ? ncclInProgress : ncclSuccess;
  }
  bool move_data();

  ncclResult_t init(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank, const ncclConfig_t* config);
  ncclResult_t ask(ncclResult_t* state);
  ncclResult_t send(const void* data, size_t size, ncclDataType_t, int to, cudaStream_t);
  ncclResult_t recv(void* data, size_t size, ncclDataType_t, int from, cudaStream_t);
  ncclResult_t sum(const void* x, void* y, size_t size, ncclDataType_t, ncclRedOp_t, cudaStream_t);
  ncclResult_t group_end();
  ncclResult_t abort();
  cudaError_t query();

  static inline thread_local FakeNccl* at_hand = nullptr;  // of calls that name no communicator

  FakeWorld& world_;
  int rank_ = 0, ranks_ = 0, sums_ = 0;
  int left_ = 0;
  bool hung_ = false, broken_ = false, group_ = false;
  std::vector<std::pair<int, std::vector<std::byte>>> gives_;
  std::vector<Take> takes_;
  Sum sum_{};  // in progress, where there is data
  std::atomic<bool> let_abort_end = false;
  std::atomic<int> aborts_ended = 0;
};

inline bool FakeNccl::move_data() {
  const std::lock_guard lock(world_.mutex);
  std::erase_if(takes_, [&](const Take& take) {
    auto& box = world_.mail[{take.from, rank_}];
    if (box.empty()) return false;
    EXPECT_EQ(box.front().size(), take.size) << "taken from rank " << take.from;
    std::copy(box.front().begin(), box.front().end(), take.data);
    box.pop_front();
    return true;
  });
  if (sum_.data != nullptr && int(world_.terms[sums_].size()) == ranks_) {
    std::fill_n(sum_.data, sum_.size, 0.0f);
    for (const auto& [rank, x] : world_.terms[sums_])
      for (size_t i = 0; i < x.size(); ++i) sum_.data[i] += x[i];
    sum_ = {};
    ++sums_;
  }
  return takes_.empty() && sum_.data == nullptr;
}

inline ncclResult_t FakeNccl::init(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank,
                                   const ncclConfig_t* config) {
  EXPECT_EQ(std::string(id.internal), "rank 0's") << "the id handed round";
  EXPECT_EQ(config->blocking, 0);
  if (!enter("init " + std::to_string(rank) + " of " + std::to_string(ranks))) return ncclSystemError;
  rank_ = rank, ranks_ = ranks;
  *comm = reinterpret_cast<ncclComm_t>(this);
  return begun();
}

inline ncclResult_t FakeNccl::ask(ncclResult_t* state) {
  if (!enter("ask", true)) return ncclInvalidArgument;
  if (left_ > 0 && !hung_ && (left_ > 1 || move_data())) --left_;
  *state = broken_ ? ncclRemoteError : left_ > 0 ? ncclInProgress : ncclSuccess;
  return ncclSuccess;
}

inline ncclResult_t FakeNccl::send(const void* data, size_t size, ncclDataType_t type, int to,
                                   cudaStream_t queue) {
  EXPECT_TRUE(group_ && type == ncclUint8 && queue == stream() && size > 0);
  if (!enter("give " + std::to_string(size) + " to " + std::to_string(to))) return ncclInvalidUsage;
  const auto* const x = static_cast<const std::byte*>(data);
  gives_.push_back({to, {x, x + size}});
  return ncclSuccess;
}

inline ncclResult_t FakeNccl::recv(void* data, size_t size, ncclDataType_t type, int from,
                                   cudaStream_t queue) {
  EXPECT_TRUE(group_ && type == ncclUint8 && queue == stream() && size > 0);
  if (!enter("take " + std::to_string(size) + " from " + std::to_string(from))) return ncclInvalidUsage;
  takes_.push_back({static_cast<std::byte*>(data), size, from});
  return ncclSuccess;
}

inline ncclResult_t FakeNccl::group_end() {
  const bool fine = enter("group end");
  EXPECT_TRUE(std::exchange(group_, false));
  if (!fine) return ncclInternalError;
  {
    const std::lock_guard lock(world_.mutex);
    for (auto& [to, x] : gives_) world_.mail[{rank_, to}].push_back(std::move(x));
  }
  gives_.clear();
  return begun();
}

inline ncclResult_t FakeNccl::sum(const void* x, void* y, size_t size, ncclDataType_t type, ncclRedOp_t op,
                                  cudaStream_t queue) {
  EXPECT_TRUE(x == y && type == ncclFloat32 && op == ncclSum && queue == stream());
  if (!enter("sum " + std::to_string(size))) return ncclUnhandledCudaError;
  sum_ = {static_cast<float*>(y), size};
  {
    const std::lock_guard lock(world_.mutex);
    world_.terms[sums_][rank_] = {sum_.data, sum_.data + size};
  }
  return begun();
}

inline ncclResult_t FakeNccl::abort() {  // in a thread of its own
  ++aborts_begun;
  while (abort_hangs && !let_abort_end) std::this_thread::yield();
  ++aborts_ended;
  return ncclSuccess;
}

inline cudaError_t FakeNccl::query() {
  if (!enter("query stream")) return cudaErrorIllegalAddress;
  if (busy_queries > 0) --busy_queries;
  return busy_queries == 0 ? cudaSuccess : cudaErrorNotReady;
}

inline NcclApi FakeNccl::api() {
  return {
      .get_version = [](int* code) { return *code = at_hand->version, ncclSuccess; },
      .get_error_string = [](ncclResult_t) { return "an error of NCCL's"; },
      .get_last_error = [](ncclComm_t) { return kWords; },
      .get_unique_id =
          [](ncclUniqueId* id) {
            *id = {};
            std::string("rank 0's").copy(id->internal, sizeof id->internal);
            return at_hand->enter("id") ? ncclSuccess : ncclSystemError;
          },
      .comm_init_rank_config =
          [](ncclComm_t* comm, int ranks, ncclUniqueId id, int rank, ncclConfig_t* config) {
            return at_hand->init(comm, ranks, id, rank, config);
          },
      .comm_get_async_error = [](ncclComm_t comm, ncclResult_t* state) { return of(comm).ask(state); },
      .comm_finalize =
          [](ncclComm_t comm) { return of(comm).enter("finalize") ? of(comm).begun() : ncclInternalError; },
      .comm_destroy =
          [](ncclComm_t comm) {
            const bool fine = of(comm).enter("destroy");
            ++of(comm).destroyed;
            return fine ? ncclSuccess : ncclInternalError;
          },
      .comm_abort = [](ncclComm_t comm) { return of(comm).abort(); },
      .group_start =
          []() {
            at_hand->group_ = at_hand->enter("group");
            return at_hand->group_ ? ncclSuccess : ncclInvalidUsage;
          },
      .group_end = []() { return at_hand->group_end(); },
      .send = [](const void* data, size_t size, ncclDataType_t type, int to, ncclComm_t comm,
                 cudaStream_t queue) { return of(comm).send(data, size, type, to, queue); },
      .recv = [](void* data, size_t size, ncclDataType_t type, int from, ncclComm_t comm,
                 cudaStream_t queue) { return of(comm).recv(data, size, type, from, queue); },
      .all_reduce = [](const void* x, void* y, size_t size, ncclDataType_t type, ncclRedOp_t op,
                       ncclComm_t comm,
                       cudaStream_t queue) { return of(comm).sum(x, y, size, type, op, queue); },
      .stream_query = [](cudaStream_t queue) { return reinterpret_cast<FakeNccl*>(queue)->query(); },
      .cuda_error_string = [](cudaError_t) { return "an error of CUDA's"; },
  };
}

}  // namespace saslm
