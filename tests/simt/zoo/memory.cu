// Planted bugs: shared and global memory, alignment, registers.
#include "simt/zoo/zoo.h"

namespace saslm::simt::zoo {
namespace {

__global__ void static_out_of_bounds(float* o) {
  SIMT_SHARED(float[64], s);
  s[threadIdx.x + 1] = 1;
  block_sync();
  o[threadIdx.x] = s[threadIdx.x ? threadIdx.x : 1];
}
__global__ void dynamic_out_of_bounds(float* o) {
  float* s = dyn_smem<float>();
  s[threadIdx.x * 4 + 4] = 1;
  block_sync();
  o[threadIdx.x] = s[4];
}
__global__ void never_written(float* o) {
  SIMT_SHARED(float[65], s);
  s[threadIdx.x] = 1;
  block_sync();
  o[threadIdx.x] = s[threadIdx.x + 1];
}
__global__ void kept_from_last_block(float* o) {  // only the first block writes
  SIMT_SHARED(float, s);
  if (blockIdx.x == 0 && threadIdx.x == 0) s = 1;
  warp_sync();
  o[blockIdx.x * 32 + threadIdx.x] = s;
}
__global__ void misaligned_vector(float* o) {
  o[threadIdx.x + 8] = ldv<float4>(o + 2).x;
}
[[maybe_unused]] __global__ void misaligned_pointer(float* o) {
  const float4 v = *reinterpret_cast<const float4*>(o + 2);
  o[threadIdx.x + 8] = v.x + v.w;
}
__global__ void misaligned_matrix_row(float* o) {
  bf16* s = dyn_smem<bf16>();
  for (int i = 0; i < 16; ++i) s[threadIdx.x * 16 + i] = bf16(1.0f);
  warp_sync();
  uint32_t r[4];
  ldmatrix_x4(r, s + threadIdx.x * 9);
  o[threadIdx.x] = float(r[0]);
}
__global__ void matrix_row_outside(float* o) {
  uint32_t r[4];
  ldmatrix_x4(r, dyn_smem<bf16>() + (threadIdx.x + 1) * 8);
  o[threadIdx.x] = float(r[0]);
}
__global__ void global_out_of_bounds(float* o) {
  o[threadIdx.x * 4 + 4] = 1;
}
__global__ void two_blocks_write(float* o) {
  o[threadIdx.x] += float(blockIdx.x);
}
__global__ void reads_another_block(float* o) {
  o[blockIdx.x * 32 + threadIdx.x] = 1 + (blockIdx.x ? o[threadIdx.x] : 0);
}
__global__ void overwrites_what_another_reads(float* o) {
  if (blockIdx.x == 0)
    o[threadIdx.x + 64] = o[threadIdx.x];
  else
    o[threadIdx.x] = 1;
}
__global__ void two_threads_write(float* o) {
  if (threadIdx.x < 2) o[0] = 1;  // the same value: a race all the same
}
__global__ void uninitialised_registers(float* o) {
  float sum[4];
  for (int i = 0; i < 8; ++i) sum[i % 4] += 1;
  o[threadIdx.x] = sum[threadIdx.x % 4];
}
struct Pair {
  float x[16];
};
__global__ void race_by_struct_copy(float* o) {
  SIMT_SHARED(Pair[2], s);
  Pair mine{};
  mine.x[3] = float(threadIdx.x);
  s[threadIdx.x % 2] = mine;
  block_sync();
  o[threadIdx.x] = s[threadIdx.x % 2].x[3];
}
__global__ void no_dynamic_bytes(float* o) {
  o[threadIdx.x] = dyn_smem<float>()[0];
}
__global__ void too_much_static(float* o) {
  SIMT_SHARED(float[13 * 1024], s);
  s[threadIdx.x] = 1;
  o[threadIdx.x] = s[threadIdx.x];
}
__global__ void small(float* o) {
  o[threadIdx.x] = 1;
}

}  // namespace

std::vector<Bug> memory_bugs() {
  const char *aligned = "aligned", *blocks = "another block", *race = "race with a", *never = "never written";
  std::vector<Bug> bugs = {
      {"static shared memory out of bounds", static_out_of_bounds, 1, 64, 0, nullptr, "out of bounds",
       "out of bounds"},
      {"dynamic shared memory out of bounds", dynamic_out_of_bounds, 1, 64, 1024, nullptr, "use-after-poison",
       "out of bounds"},
      {"shared memory never written", never_written, 1, 64, 0, kNan, kNan, never},
      {"shared memory kept from another block", kept_from_last_block, 2, 32, 0, kNan, kNan, never},
      {"misaligned ldv", misaligned_vector, 1, 32, 0, aligned, aligned, aligned},
      {"misaligned ldmatrix row", misaligned_matrix_row, 1, 32, 1024, aligned, aligned, aligned},
      {"ldmatrix row outside", matrix_row_outside, 1, 32, 512, "not the block's", "not the block's",
       "not the block's"},
      {"global memory out of bounds", global_out_of_bounds, 1, 64, 0, nullptr, "heap-buffer-overflow",
       nullptr},
      {"two blocks write one address", two_blocks_write, 2, 32, 0, nullptr, nullptr, blocks},
      {"block reads what another wrote", reads_another_block, 2, 32, 0, kDepends, kDepends, blocks},
      {"block overwrites what another reads", overwrites_what_another_reads, 2, 32, 0, kDepends, kDepends,
       blocks},
      {"two threads write one address", two_threads_write, 1, 32, 0, nullptr, nullptr, race},
      {"uninitialised registers", uninitialised_registers, 1, 32, 0, nullptr, nullptr, kNan},
      {"race by struct copies", race_by_struct_copy, 1, 64, 0, kDepends, kDepends, race},
      {"dyn_smem without bytes", no_dynamic_bytes, 1, 32, 0, "without dynamic", "without dynamic",
       "without dynamic"},
      {"static shared memory above 48 KiB", too_much_static, 1, 32, 0, "48 KiB", "48 KiB", "48 KiB"},
      {"dynamic shared memory above 227 KiB", small, 1, 32, 228 * 1024, "a block has", "a block has",
       "a block has"},
      {"block of 1056 threads", small, 1, 1056, 0, "1 to 1024", "1 to 1024", "1 to 1024"},
  };
#if !defined(__clang__)  // its UBSan does not see this one
  bugs.push_back({"misaligned raw vector pointer", misaligned_pointer, 1, 32, 0, nullptr,
                  "misaligned address", nullptr});
#endif
  return bugs;
}

}  // namespace saslm::simt::zoo
