// Table of the NCCL and CUDA functions that comm/nccl.cpp calls. NCCL is loaded when GPUs are joined, so the
// program starts without it; tests fill the table themselves.
#pragma once
#include <nccl.h>

namespace saslm {

struct NcclApi {
  decltype(&ncclGetVersion) get_version;
  decltype(&ncclGetErrorString) get_error_string;
  decltype(&ncclGetLastError) get_last_error;
  decltype(&ncclGetUniqueId) get_unique_id;
  decltype(&ncclCommInitRankConfig) comm_init_rank_config;
  decltype(&ncclCommGetAsyncError) comm_get_async_error;
  decltype(&ncclCommFinalize) comm_finalize;
  decltype(&ncclCommDestroy) comm_destroy;
  decltype(&ncclCommAbort) comm_abort;
  decltype(&ncclGroupStart) group_start;
  decltype(&ncclGroupEnd) group_end;
  decltype(&ncclSend) send;
  decltype(&ncclRecv) recv;
  decltype(&ncclAllReduce) all_reduce;
  cudaError_t (*stream_query)(cudaStream_t);
  const char* (*cuda_error_string)(cudaError_t);
};

// Loads the library. ConfigError if there is none.
NcclApi load_nccl();

// ConfigError if the library is too old: non-blocking communicators exist since 2.14, and can be aborted from
// another thread since 2.19.
void check_version(const NcclApi& api);

}  // namespace saslm
