// The one call of the driver that programs ask the runtime for: cuTensorMapEncodeTiled, of two dimensions and
// bf16.
#include "ptx/machine/instructions/tensor_map.h"

#include <cuda.h>

#include <cstring>
#include <string>

#include "ptx/machine/cudart/device.h"

namespace {

uint32_t swizzled_chunks(CUtensorMapSwizzle s) {
  switch (s) {
    case CU_TENSOR_MAP_SWIZZLE_128B:
      return 7;
    case CU_TENSOR_MAP_SWIZZLE_64B:
      return 3;
    case CU_TENSOR_MAP_SWIZZLE_32B:
      return 1;
    default:
      return 0;
  }
}

CUresult encode_tiled(CUtensorMap* map, CUtensorMapDataType type, cuuint32_t rank, void* base,
                      const cuuint64_t* extents, const cuuint64_t* pitches, const cuuint32_t* box,
                      const cuuint32_t* steps, CUtensorMapInterleave, CUtensorMapSwizzle swizzle,
                      CUtensorMapL2promotion, CUtensorMapFloatOOBfill) {
  if (rank != 2 || type != CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 || steps[0] != 1 || steps[1] != 1)
    return CUDA_ERROR_NOT_SUPPORTED;
  const auto address = reinterpret_cast<uintptr_t>(base);
  if (address % 16 != 0 || pitches[0] % 16 != 0 || box[0] > 256 || box[1] > 256)
    return CUDA_ERROR_INVALID_VALUE;
  if (swizzle == CU_TENSOR_MAP_SWIZZLE_128B && box[0] * 2 > 128) return CUDA_ERROR_INVALID_VALUE;
  ptx::TensorMap t;
  t.base = address;
  t.inner = extents[0], t.outer = extents[1];
  t.pitch = pitches[0];
  t.box_inner = box[0], t.box_outer = box[1];
  t.swizzle = swizzled_chunks(swizzle);
  t.element_bytes = 2;
  std::memset(map, 0, sizeof *map);
  static_assert(sizeof t <= sizeof *map);
  std::memcpy(map, &t, sizeof t);
  return CUDA_SUCCESS;
}

}  // namespace

extern "C" cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned,
                                                        unsigned long long,
                                                        cudaDriverEntryPointQueryResult* found) {
  if (std::string(name) != "cuTensorMapEncodeTiled") return ptx::failed(cudaErrorNotSupported);
  *function = reinterpret_cast<void*>(&encode_tiled);
  if (found != nullptr) *found = cudaDriverEntryPointSuccess;
  return cudaSuccess;
}
