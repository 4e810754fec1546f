// Contract: comm/nccl_api.h. And what ties the room to the machine: NCCL's library, CUDA's runtime.
#include "comm/nccl_api.h"

#include <dlfcn.h>

#include <string>
#include <type_traits>

#include "comm/nccl.h"
#include "core/error.h"

namespace saslm {
namespace {

void* open_library() {
  constexpr const char* kName = "libnccl.so.2";
  for (const std::string& path : {std::string(kName), std::string(SASLM_CUDA_LIBRARIES "/") + kName})
    if (void* const handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) return handle;
  throw ConfigError("ranks on GPUs need NCCL, which was not found (" + std::string(dlerror()) +
                    "); install it (Debian, Ubuntu: libnccl2, from NVIDIA's repository; Python: "
                    "nvidia-nccl-cu" +
                    std::to_string(CUDART_VERSION / 1000) + "), or name its folder in LD_LIBRARY_PATH");
}

}  // namespace

NcclApi load_nccl() {
  void* const library = open_library();
  const auto find = [&](auto& function, const char* symbol) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, symbol));
    if (function == nullptr)
      throw ConfigError("the NCCL that was found has no " + std::string(symbol) +
                        "; install a newer one, or name another's folder in LD_LIBRARY_PATH");
  };
  NcclApi api{};
  find(api.get_version, "ncclGetVersion");
  find(api.get_error_string, "ncclGetErrorString");
  find(api.get_last_error, "ncclGetLastError");
  find(api.get_unique_id, "ncclGetUniqueId");
  find(api.comm_init_rank_config, "ncclCommInitRankConfig");
  find(api.comm_get_async_error, "ncclCommGetAsyncError");
  find(api.comm_finalize, "ncclCommFinalize");
  find(api.comm_destroy, "ncclCommDestroy");
  find(api.comm_abort, "ncclCommAbort");
  find(api.group_start, "ncclGroupStart");
  find(api.group_end, "ncclGroupEnd");
  find(api.send, "ncclSend");
  find(api.recv, "ncclRecv");
  find(api.all_reduce, "ncclAllReduce");
  api.stream_query = [](cudaStream_t stream) { return cudaStreamQuery(stream); };
  api.cuda_error_string = [](cudaError_t error) { return cudaGetErrorString(error); };
  check_version(api);
  return api;
}

std::unique_ptr<Communicator> join_nccl(std::unique_ptr<HostRanks> host, NcclOptions options) {
  return join_nccl(std::move(host), load_nccl(), std::move(options));
}

}  // namespace saslm
