// GPU ranks, one GPU each: NCCL exchanges GPU memory, a host communicator the rest.
//
// NCCL's own calls could wait forever for a lost rank. So its communicator is non-blocking: every call is
// started and then polled, under the host communicator's time limit and rules for silent ranks. After any
// failure the communicator is aborted, which ends the kernels that wait on this GPU, and not used again.
#pragma once
#include <exception>
#include <functional>
#include <memory>

#include "comm/host_ranks.h"

namespace saslm {

struct NcclApi;  // comm/nccl_api.h

struct NcclOptions {
  double abort_timeout_s = 10;  // aborting can hang, too; then saslm stops waiting for it
  // Called if the abort hangs, with the error that led to it. Kernels still wait on the GPU and freeing its
  // memory would hang, so this is the last chance to report the error.
  std::function<void(const std::exception&)> when_stuck;
};

// Joins the GPUs that the ranks have chosen; all ranks call it. ConfigError in a build without NCCL, or if it
// is not found; CommError with NCCL's message if a rank fails or does not join within the host's time limit.
std::unique_ptr<Communicator> join_nccl(std::unique_ptr<HostRanks> host, NcclOptions options);
// With a given function table, for tests.
std::unique_ptr<Communicator> join_nccl(std::unique_ptr<HostRanks> host, const NcclApi& api,
                                        NcclOptions options);

}  // namespace saslm
