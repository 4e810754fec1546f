// GPU ranks, one GPU each: NCCL carries what lies in the GPUs' memory, a room of host memory the rest.
//
// NCCL's own calls could wait for ever for a rank that is lost. So its communicator never blocks: every call
// is made and then asked about, under the host room's time limit and its rules of who is silent. After any
// failure the communicator is aborted, which ends the kernels that wait on this GPU, and is not used again.
#pragma once
#include <exception>
#include <functional>
#include <memory>

#include "comm/host_ranks.h"

namespace saslm {

struct NcclApi;  // comm/nccl_api.h

struct NcclOptions {
  double abort_timeout_s = 10;  // aborting can hang too; then it is given up
  // Called when it was given up, with the error that led to it: kernels still wait on the GPU, so that
  // freeing its memory would hang, and what the process has to say must be said here.
  std::function<void(const std::exception&)> when_stuck;
};

// Joins the GPUs that the ranks have chosen; all ranks call it. ConfigError in a build without NCCL, or where
// it is not found; CommError with NCCL's words when a rank fails or does not come within the host's limit.
std::unique_ptr<Communicator> join_nccl(std::unique_ptr<HostRanks> host, NcclOptions options);
// By other functions than NCCL's.
std::unique_ptr<Communicator> join_nccl(std::unique_ptr<HostRanks> host, const NcclApi& api,
                                        NcclOptions options);

}  // namespace saslm
