// Indices, shuffles, votes, barriers, vectors, scalars, atomics, cp.async.
#include <cmath>

#include "simt/layout/device_array.h"
#include "simt/layout/layout.h"

namespace saslm::simt::layout {
namespace {

__global__ void index_kernel(int* o) {
  const int block = int((blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x);
  int* mine = o + (block * 48 + thread_rank()) * 3;
  mine[0] = int(threadIdx.x + 10 * threadIdx.y + 100 * threadIdx.z);
  mine[1] = lane_id();
  mine[2] = warp_id();
}
std::string indices(Stream stream) {
  DeviceArray<int> o(std::vector<int>(2 * 3 * 2 * 48 * 3, -1));
  launch(index_kernel, {2, 3, 2}, dim3(4, 3, 4), 0, stream, o.data());
  std::vector<int> want;
  for (int block = 0; block < 12; ++block)
    for (int t = 0; t < 48; ++t) {
      want.push_back(t % 4 + 10 * (t / 4 % 3) + 100 * (t / 12));
      want.push_back(t % 32);
      want.push_back(t / 32);
    }
  return compare(o.values(), want);
}

__global__ void shuffle_kernel(int* o) {
  const int l = lane_id();
  int* mine = o + l * 6;
  mine[0] = shuffle(l, 5);
  mine[1] = shuffle_xor(l, 9);
  mine[2] = shuffle_up(l, 3);
  mine[3] = shuffle_down(l, 3);
  mine[4] = shuffle_down(l, 3, 8);
  mine[5] = int(shuffle_xor(uint64_t(launder(l)) << 40, 1, 16) >> 40);
}
std::string shuffles(Stream stream) {
  DeviceArray<int> o(std::vector<int>(32 * 6, -1));
  launch(shuffle_kernel, 1, 32, 0, stream, o.data());
  std::vector<int> want;
  for (int l = 0; l < 32; ++l)
    for (const int from : {5, l ^ 9, l < 3 ? l : l - 3, l > 28 ? l : l + 3, l % 8 > 4 ? l : l + 3, l ^ 1})
      want.push_back(from);
  return compare(o.values(), want);
}

__global__ void vote_kernel(unsigned* o) {
  const int l = lane_id();
  unsigned* mine = o + threadIdx.x * 6;
  mine[0] = ballot(l % 3 == 0);
  mine[1] = vote_any(l == 7);
  mine[2] = vote_all(l != 7);
  mine[3] = block_sync_or(threadIdx.x == 40);
  mine[4] = block_sync_and(threadIdx.x != 40);
  mine[5] = unsigned(block_sync_count(threadIdx.x % 5 == 0));
}
std::string votes(Stream stream) {
  DeviceArray<unsigned> o(std::vector<unsigned>(64 * 6, 99));
  launch(vote_kernel, 1, 64, 0, stream, o.data());
  std::vector<unsigned> want;
  for (int t = 0; t < 64; ++t) want.insert(want.end(), {0x49249249u, 1, 0, 1, 0, 13});
  return compare(o.values(), want);
}

__global__ void named_barrier_kernel(int* o) {  // warps 0, 1 hand over to 2, 3; each pair on its own barrier
  SIMT_SHARED(int[64], s);
  const int pair = warp_id() % 2;
  if (warp_id() < 2) {
    s[threadIdx.x] = int(threadIdx.x) + 1;
    bar_arrive(1 + pair, 64);
  } else {
    bar_sync(1 + pair, 64);
    o[pair * 32 + lane_id()] = s[pair * 32 + 31 - lane_id()];
  }
}
std::string named_barriers(Stream stream) {
  DeviceArray<int> o(std::vector<int>(64, -1));
  launch(named_barrier_kernel, 1, 128, 0, stream, o.data());
  std::vector<int> want;
  for (int i = 0; i < 64; ++i) want.push_back(i / 32 * 32 + 32 - i % 32);
  return compare(o.values(), want);
}

// Inputs of the conversions: ordinary, ties to even both ways, overflow to infinity, subnormal, NaN.
const std::vector<float> kFloats = {1.0f,  -2.5f,       1.00390625f, 1.01171875f, 3.4e38f, 1e-40f,
                                    0.0f,  -0.0f,       INFINITY,    -INFINITY,   NAN,     1.004f,
                                    -1e9f, 3.14159274f, 65504.0f,    -1.01171875f};
const std::vector<uint32_t> kRounded = {0x3f80, 0xc020, 0x3f80, 0x3f82, 0x7f80, 0x0001, 0x0000, 0x8000,
                                        0x7f80, 0xff80, 0x7fff, 0x3f81, 0xce6e, 0x4049, 0x4780, 0xbf82};
__global__ void conversion_kernel(uint32_t* o, const float* x) {
  const float mine = x[threadIdx.x], next = x[(threadIdx.x + 1) % 16];
  const uint32_t packed = pack_bf16(mine, next);
  const uint32_t relu = pack_relu_bf16(mine, next);
  const auto unsigned_zero = [](uint32_t half) { return half == 0x8000 ? 0 : half; };  // either zero will do
  o[threadIdx.x * 5] = bf16(mine).bits;
  o[threadIdx.x * 5 + 1] = packed;
  o[threadIdx.x * 5 + 2] = uint32_t(unpack_bf16(packed).x == float(bf16(mine)) || mine != mine);
  o[threadIdx.x * 5 + 3] = uint32_t(unpack_bf16(packed).y == float(bf16(next)) || next != next);
  o[threadIdx.x * 5 + 4] = unsigned_zero(relu & 0xffff) | unsigned_zero(relu >> 16) << 16;
}
std::string conversions(Stream stream) {
  DeviceArray<float> x(kFloats);
  DeviceArray<uint32_t> o(std::vector<uint32_t>(80, 99));
  launch(conversion_kernel, 1, 16, 0, stream, o.data(), x.data());
  std::vector<uint32_t> want;
  const auto relu = [](uint32_t bits) { return bits >= 0x8000 ? 0 : bits; };  // NaN is 0x7fff
  for (size_t i = 0; i < 16; ++i) {
    const uint32_t next = kRounded[(i + 1) % 16];
    want.insert(want.end(),
                {kRounded[i], kRounded[i] | next << 16, 1, 1, relu(kRounded[i]) | relu(next) << 16});
  }
  return compare(o.values(), want);
}

__global__ void approximation_kernel(float* o) {
  const float x = 0.37f * float(threadIdx.x + 1);
  o[threadIdx.x * 3] = exp2_approx(-x) / exp2f(-x);
  o[threadIdx.x * 3 + 1] = log2_approx(x + 2) / log2f(x + 2);
  o[threadIdx.x * 3 + 2] = rsqrt_approx(x) * sqrtf(x);
}
std::string approximations(Stream stream) {
  DeviceArray<float> o(std::vector<float>(96, 0.0f));
  launch(approximation_kernel, 1, 32, 0, stream, o.data());
  for (const float ratio : o.values())
    if (!(std::abs(ratio - 1) < 1e-6f)) return "a ratio to the exact function is " + std::to_string(ratio);
  return "";
}

__global__ void vector_kernel(float* o, const float* x) {
  stv(o + threadIdx.x * 4, ldv<float4>(x + (31 - threadIdx.x) * 4));
  stv(o + 128 + threadIdx.x * 2, ldv<float2>(x + (31 - threadIdx.x) * 2));
  stv_global(o + 192 + threadIdx.x * 4, ldv<float4>(x + threadIdx.x * 4));
}
std::string vectors(Stream stream) {
  std::vector<float> in(128), want(320);
  for (size_t i = 0; i < 128; ++i) in[i] = float(i);
  for (size_t i = 0; i < 128; ++i) want[i] = float((31 - i / 4) * 4 + i % 4);
  for (size_t i = 0; i < 64; ++i) want[128 + i] = float((31 - i / 2) * 2 + i % 2);
  for (size_t i = 0; i < 128; ++i) want[192 + i] = in[i];
  DeviceArray<float> x(in), o(std::vector<float>(320, -1.0f));
  launch(vector_kernel, 1, 32, 0, stream, o.data(), x.data());
  return compare(o.values(), want);
}

__global__ void atomic_kernel(unsigned* o) {
  atomic_add(&o[0], 2u);
  atomic_max(&o[1], threadIdx.x);
  atomic_or(&o[2], 1u << threadIdx.x % 32);
  atomic_cas(&o[3], 7u, 8u);
}
std::string atomics(Stream stream) {
  DeviceArray<unsigned> o({5, 0, 0, 7});
  launch(atomic_kernel, 3, 64, 0, stream, o.data());
  return compare(o.values(), {5 + 2 * 192, 63, 0xffffffffu, 8});
}

// Two groups; the first is waited for alone. Odd threads ask for zeros.
__global__ void copy_kernel(int* o, const int* x) {
  int* s = dyn_smem<int>();
  const int t = int(threadIdx.x);
  for (int group = 0; group < 2; ++group) {
    cp_async16(s + (group * 32 + t) * 4, x + (group * 32 + t) * 4, group == 1 || t % 2 == 0);
    cp_async_commit();
  }
  cp_async_wait<1>();
  warp_sync();
  for (int i = 0; i < 4; ++i) o[t * 4 + i] = s[(31 - t) * 4 + i];
  cp_async_wait<0>();
  warp_sync();
  for (int i = 0; i < 4; ++i) o[128 + t * 4 + i] = s[128 + (31 - t) * 4 + i];
}
__global__ void word_copy_kernel(int* o, const int* x) {  // 4 bytes a lane
  int* s = dyn_smem<int>();
  const int t = int(threadIdx.x);
  cp_async4(s + t, x + t + 1, t % 3 != 0);
  cp_async_commit();
  cp_async_wait<0>();
  warp_sync();
  o[t] = s[31 - t];
}
std::string word_copies(Stream stream) {
  std::vector<int> in(33), want(32);
  for (int i = 0; i < 33; ++i) in[size_t(i)] = i + 1;
  for (int t = 0; t < 32; ++t) want[size_t(t)] = (31 - t) % 3 != 0 ? 33 - t : 0;
  DeviceArray<int> x(in), o(std::vector<int>(32, -1));
  launch(word_copy_kernel, 1, 32, 128, stream, o.data(), x.data());
  return compare(o.values(), want);
}

std::string copies(Stream stream) {
  std::vector<int> in(256), want(256);
  for (int i = 0; i < 256; ++i) in[size_t(i)] = i + 1;
  for (int i = 0; i < 256; ++i) {
    const int from = i / 128 * 128 + (31 - i % 128 / 4) * 4 + i % 4;
    want[size_t(i)] = from < 128 && from / 4 % 2 ? 0 : from + 1;
  }
  DeviceArray<int> x(in), o(std::vector<int>(256, -1));
  launch(copy_kernel, 1, 32, 1024, stream, o.data(), x.data());
  return compare(o.values(), want);
}

}  // namespace

std::vector<Check> basic_checks() {
  return {{"indices", indices},
          {"shuffles", shuffles},
          {"votes", votes},
          {"named barriers", named_barriers},
          {"conversions", conversions},
          {"approximations", approximations},
          {"vectors", vectors},
          {"atomics", atomics},
          {"cp.async", copies},
          {"cp.async of 4 bytes", word_copies}};
}

}  // namespace saslm::simt::layout
