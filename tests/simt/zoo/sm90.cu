// Planted bugs: mbarrier, bulk copies, wgmma.
#include "kernels/simt/simt_sm90.h"
#include "simt/zoo/zoo.h"

namespace saslm::simt::zoo {
namespace {

constexpr uint32_t kBytes = 256;

__global__ void not_initialised(float* o) {
  SIMT_SHARED(uint64_t, barrier);
  mbar_wait(&barrier, 0);
  o[0] = 1;
}
__global__ void initialised_without_sync(float* o) {
  SIMT_SHARED(uint64_t, barrier);
  if (threadIdx.x == 0) mbar_init(&barrier, 64);
  mbar_arrive(&barrier);
  o[threadIdx.x] = 1;
}
__global__ void arrives_too_often(float* o) {
  SIMT_SHARED(uint64_t, barrier);
  if (threadIdx.x == 0) {
    mbar_init(&barrier, 1);
    mbar_expect_bytes(&barrier, kBytes);
    mbar_arrive(&barrier);
  }
  o[threadIdx.x] = 1;
}
__global__ void overwritten(float* o) {
  SIMT_SHARED(uint64_t, barrier);
  if (threadIdx.x == 0) mbar_init(&barrier, 32);
  block_sync();
  if (threadIdx.x == 0) barrier = 0;
  block_sync();
  mbar_arrive(&barrier);
  o[threadIdx.x] = 1;
}

template <bool kWaits, int kParity, uint32_t kExpected>
__global__ void bulk(float* o) {
  float* s = dyn_smem<float>();
  SIMT_SHARED(uint64_t, barrier);
  if (threadIdx.x == 0) {
    mbar_init(&barrier, 1);
    mbar_fence_init();
  }
  block_sync();
  if (threadIdx.x == 0) {
    mbar_expect_bytes(&barrier, kExpected);
    bulk_copy(s, o, kBytes, &barrier);
  }
  if (kWaits) mbar_wait(&barrier, kParity);
  const float read = s[threadIdx.x];
  o[64 + threadIdx.x] = read;
  if (!kWaits) mbar_wait(&barrier, 0);
}
__global__ void ends_in_flight(float* o) {
  SIMT_SHARED(uint64_t, barrier);
  if (threadIdx.x == 0) {
    mbar_init(&barrier, 1);
    mbar_expect_bytes(&barrier, kBytes);
    bulk_copy(dyn_smem<float>(), o, kBytes, &barrier);
  }
}
__global__ void map_row_misaligned(float* o) {
  SIMT_SHARED(uint64_t, barrier);
  if (threadIdx.x == 0) {
    const TensorMap map = tensor_map_2d(reinterpret_cast<const bf16*>(o), 64, 4, 128, 64, 4);
    mbar_init(&barrier, 1);
    mbar_expect_bytes(&barrier, 512);
    tma_load_2d(dyn_smem<float>() + 32, &map, 0, 0, &barrier);
  }
}

enum class Wgmma { sound, no_async_fence, no_fence, read_early, refilled };
template <Wgmma kBug>
__global__ void product(float* o) {
  bf16* s = dyn_smem<bf16>();
  SIMT_SHARED(uint64_t, barrier);
  if (threadIdx.x == 0) mbar_init(&barrier, 1);
  for (int i = int(threadIdx.x); i < 64 * 64; i += 128) s[i] = bf16(1.0f);
  if (kBug != Wgmma::no_async_fence) fence_async();
  block_sync();
  float d[32];
  for (float& x : d) x = 0;
  const uint64_t descriptor = descriptor_swizzle_128(s, 16, 1024);
  if (kBug != Wgmma::no_fence) wgmma_fence();
  wgmma_m64n64k16<0>(d, descriptor, descriptor, true);
  wgmma_commit();
  if (kBug == Wgmma::read_early) o[threadIdx.x] = d[0];
  if (kBug == Wgmma::refilled && threadIdx.x == 0) {
    mbar_expect_bytes(&barrier, kBytes);
    bulk_copy(s, o, kBytes, &barrier);
  }
  wgmma_wait<0>(d);
  if (kBug == Wgmma::refilled) mbar_wait(&barrier, 0);
  if (kBug != Wgmma::read_early) o[threadIdx.x] = d[0];
}

}  // namespace

std::vector<Bug> sm90_bugs() {
  const char *init = "not initialised", *often = "more arrivals", *over = "overwritten", *dead = "deadlock",
             *flight = "in flight", *never = "never written", *fence = "without a wgmma_fence",
             *operand = "overwrites an operand";
  return {
      {"mbarrier not initialised", not_initialised, 1, 32, 0, init, init, never},
      {"mbarrier initialised without block_sync", initialised_without_sync, 1, 64, 0, init, init,
       "race with a"},
      {"mbarrier with too many arrivals", arrives_too_often, 1, 32, 0, often, often, often},
      {"mbarrier overwritten", overwritten, 1, 32, 0, over, over, over},
      {"bulk copy read before the wait", bulk<false, 0, kBytes>, 1, 64, 1024, kNan, kNan, never},
      {"mbarrier wait for the wrong parity", bulk<true, 1, kBytes>, 1, 64, 1024, flight, flight, never},
      {"bulk copy of fewer bytes than expected", bulk<true, 0, kBytes + 16>, 1, 64, 1024, dead, dead, dead},
      {"block ends with a bulk copy in flight", ends_in_flight, 1, 32, 1024, flight, flight, flight},
      {"tensor copy to a misaligned box", map_row_misaligned, 1, 32, 2048, "aligned", "aligned", "aligned"},
      {"wgmma of ordinary stores without fence_async", product<Wgmma::no_async_fence>, 1, 128, 8192, nullptr,
       nullptr, "no fence_async"},
      {"wgmma without wgmma_fence", product<Wgmma::no_fence>, 1, 128, 8192, fence, fence, fence},
      {"accumulator read before wgmma_wait", product<Wgmma::read_early>, 1, 128, 8192, kNan, kNan, kNan},
      {"bulk copy into an operand of wgmma", product<Wgmma::refilled>, 1, 128, 8192, operand, operand,
       operand},
  };
}

std::vector<Bug> sound_sm90_kernels() {
  return {
      {"bulk copy", bulk<true, 0, kBytes>, 1, 64, 1024, nullptr, nullptr, nullptr},
      {"wgmma after fence_async", product<Wgmma::sound>, 1, 128, 8192, nullptr, nullptr, nullptr},
  };
}

}  // namespace saslm::simt::zoo
