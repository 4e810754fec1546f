// Contract: comm/nccl.h. NCCL's rules for a communicator that does not block: a call may return while its
// work is in progress; until that is over, the communicator takes no other call but ncclCommGetAsyncError and
// ncclCommAbort, and its streams no kernels. It is finalized, then destroyed; after an error, aborted
// instead.
#include "comm/nccl.h"

#include <chrono>
#include <future>
#include <string>
#include <thread>
#include <utility>

#include "comm/nccl_api.h"
#include "core/error.h"

namespace saslm {
namespace {

bool failed(ncclResult_t result) {
  return result != ncclSuccess && result != ncclInProgress;
}

class Nccl : public Communicator {
 public:
  Nccl(std::unique_ptr<HostRanks> host, const NcclApi& api, NcclOptions options)
      : Communicator(host->rank(), host->size()),
        host_(std::move(host)),
        api_(api),
        options_(std::move(options)) {}
  ~Nccl() override;

  void join();  // once, before all else

  void exchange(Stream, std::span<const Exchange>, const char* doing) const override;
  void all_reduce(Stream, Vec<float> y, const char* doing) const override;
  void wait(Stream, const char* doing) const override;
  void gather(std::span<const std::byte> mine, std::span<std::byte> all, const char* doing) const override {
    host_->gather(mine, all, doing);
  }
  void collect(std::span<const std::byte> mine, std::span<std::byte> all, const char* doing) const override {
    host_->collect(mine, all, doing);
  }
  void abandon(const std::exception& why) const override { abort(why); }

 private:
  static cudaStream_t queue(Stream stream) { return static_cast<cudaStream_t>(stream.handle); }

  // Throws for a result that is an error.
  void check_call(ncclResult_t result, const char* call, const char* doing) const;
  bool in_progress(const char* doing) const;
  // Waits until the last call is queued on the GPU, or done if it uses no stream.
  void settle(const char* doing) const;

  // Runs part(); aborts the communicator if it throws.
  template <class Part>
  void guarded(const Part& part) const;
  void abort(const std::exception& why) const;

  std::unique_ptr<HostRanks> host_;
  NcclApi api_;
  NcclOptions options_;
  mutable ncclComm_t comm_ = nullptr;  // null once it is aborted
};

void Nccl::check_call(ncclResult_t result, const char* call, const char* doing) const {
  if (!failed(result)) return;
  std::string words = api_.get_error_string(result);
  if (const char* const last = api_.get_last_error(comm_); last != nullptr && *last != '\0')
    words += std::string("; ") + last;
  throw CommError(
      HostRanks::said(doing) + call + ": " + words +
      ". Set NCCL_DEBUG=INFO for more from NCCL; the same command continues from the newest checkpoint");
}

bool Nccl::in_progress(const char* doing) const {
  ncclResult_t state = ncclSuccess;
  check_call(api_.comm_get_async_error(comm_, &state), "ncclCommGetAsyncError", doing);
  check_call(state, "NCCL", doing);
  return state == ncclInProgress;
}

void Nccl::settle(const char* doing) const {
  host_->wait_until([&] { return !in_progress(doing); }, doing, [] { return std::string("NCCL"); });
}

template <class Part>
void Nccl::guarded(const Part& part) const {
  check(comm_ != nullptr, "no call is made on a communicator that was aborted");
  try {
    part();
  } catch (const std::exception& error) {
    abort(error);
    throw;
  }
}

void Nccl::abort(const std::exception& why) const {
  const ncclComm_t comm = std::exchange(comm_, nullptr);
  if (comm == nullptr) return;
  std::packaged_task<void()> aside([comm, comm_abort = api_.comm_abort] { comm_abort(comm); });
  const std::future<void> done = aside.get_future();
  std::thread(std::move(aside)).detach();
  const std::chrono::duration<double> limit(options_.abort_timeout_s);
  if (done.wait_for(limit) != std::future_status::ready && options_.when_stuck) options_.when_stuck(why);
}

void Nccl::join() {
  constexpr const char* kDoing = "joining of the GPUs";
  ncclUniqueId mine{};
  if (first()) check_call(api_.get_unique_id(&mine), "ncclGetUniqueId", kDoing);
  std::vector<ncclUniqueId> ids(static_cast<size_t>(size()));
  host_->gather(std::as_bytes(std::span(&mine, 1)), std::as_writable_bytes(std::span(ids)), kDoing);
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  const ncclResult_t result = api_.comm_init_rank_config(&comm_, size(), ids[0], rank(), &config);
  if (comm_ == nullptr) {
    check_call(result, "ncclCommInitRankConfig", kDoing);
    throw CommError(HostRanks::said(kDoing) + "ncclCommInitRankConfig made no communicator");
  }
  guarded([&] {
    check_call(result, "ncclCommInitRankConfig", kDoing);
    settle(kDoing);
  });
}

Nccl::~Nccl() {
  try {
    if (std::uncaught_exceptions() > 0)
      abort(CommError("an error ended this rank, and NCCL's communicator could not be aborted"));
    if (comm_ == nullptr) return;
    constexpr const char* kDoing = "parting of the GPUs";
    guarded([&] {
      check_call(api_.comm_finalize(comm_), "ncclCommFinalize", kDoing);
      settle(kDoing);
      api_.comm_destroy(std::exchange(comm_, nullptr));
    });
  } catch (const std::exception&) {
    // The ranks do not communicate any more, so errors here do not matter.
  }
}

void Nccl::exchange(Stream stream, std::span<const Exchange> all, const char* doing) const {
  bool anything = false;
  for (const auto& [partner, give, take] : all) {
    check(partner != rank() || give.size == take.size, "who gives to himself takes it all");
    anything = anything || give.size > 0 || take.size > 0;
  }
  if (!anything) return;
  guarded([&] {
    check_call(api_.group_start(), "ncclGroupStart", doing);
    const char* call = "ncclSend";
    ncclResult_t result = ncclSuccess;
    for (const auto& [partner, give, take] : all) {
      if (!failed(result) && give.size > 0)
        call = "ncclSend",
        result = api_.send(give.data, size_t(give.size), ncclUint8, partner, comm_, queue(stream));
      if (!failed(result) && take.size > 0)
        call = "ncclRecv",
        result = api_.recv(take.data, size_t(take.size), ncclUint8, partner, comm_, queue(stream));
    }
    const ncclResult_t end = api_.group_end();  // a failed group must be closed, too
    check_call(result, call, doing);
    check_call(end, "ncclGroupEnd", doing);
    settle(doing);
  });
}

void Nccl::all_reduce(Stream stream, Vec<float> y, const char* doing) const {
  if (y.size == 0) return;
  guarded([&] {
    check_call(api_.all_reduce(y.data, y.data, size_t(y.size), ncclFloat32, ncclSum, comm_, queue(stream)),
               "ncclAllReduce", doing);
    settle(doing);
  });
}

void Nccl::wait(Stream stream, const char* doing) const {
  const auto done = [&] {
    if (in_progress(doing)) return false;
    const cudaError_t state = api_.stream_query(queue(stream));
    if (state != cudaSuccess && state != cudaErrorNotReady)
      throw CudaError(HostRanks::said(doing) + "cudaStreamQuery: " + api_.cuda_error_string(state));
    return state == cudaSuccess;
  };
  guarded([&] { host_->wait_until(done, doing, [] { return std::string("the GPU"); }); });
}

}  // namespace

void check_version(const NcclApi& api) {
  int version = 0;
  if (const ncclResult_t result = api.get_version(&version); result != ncclSuccess)
    throw ConfigError(std::string("ncclGetVersion: ") + api.get_error_string(result));
  if (version < NCCL_VERSION(2, 19, 1))
    throw ConfigError(
        "NCCL " + std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) +
        " was found; wanted 2.19.1 or newer: install one, or name its folder in LD_LIBRARY_PATH");
}

std::unique_ptr<Communicator> join_nccl(std::unique_ptr<HostRanks> host, const NcclApi& api,
                                        NcclOptions options) {
  auto room = std::make_unique<Nccl>(std::move(host), api, std::move(options));
  room->join();
  return room;
}

}  // namespace saslm
