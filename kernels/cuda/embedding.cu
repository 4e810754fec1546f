// Contract: kernels/embedding.h. Meaning: kernels/cpu/embedding.cpp.
//
// Forward: a warp a row. Floor: x out once, 23 us for bf16 (65536, 768) at 4.3 TB/s; rows of embed that are
// drawn often come from L2.
//
// Backward, dembed: the rows are sorted by token, stably, then every run of one token is added up.
//   Sort: 8 bits of the token a launch. Block d reads all keys, counts smaller digits, and appends its own in
//   order: no atomics, nothing to clear. For 65536 tokens of 50304 two launches of about 10 us, all from L2.
//   Add: a block has a window of 64 sorted rows and 128 channels. A run inside the window is one warp's, 8
//   rows on the way at a time. The run that leaves the window, and may hold a twentieth of all rows, is cut
//   in eight equal parts, one a warp, added in order. The order of every sum follows from the tokens alone.
//   Floor: dx in once, dembed's rows in and out once: 23 + up to 23 us.
// dpos: a thread adds its channels of one position over the sequences. Floor: dx once more.
#include <algorithm>

#include "kernels/cuda/device.cuh"
#include "kernels/embedding.h"

namespace saslm::cuda {

namespace {

constexpr int kRowsPerBlock = 8;
constexpr int kMaxSortWarps = 32, kKeysPerWarp = 256, kDigitBits = 8, kDigits = 1 << kDigitBits;
constexpr int kAddWarps = 8, kWindow = 64, kRowsAhead = 8, kChannels = 4;
constexpr int kPosThreads = 64;

template <class T, int n>
__global__ void __launch_bounds__(kRowsPerBlock* kWarp) embedding_fwd_kernel(EmbeddingFwd<T> a) {
  const int64_t row = int64_t{blockIdx.x} * kRowsPerBlock + simt::warp_id();
  if (row >= a.x.rows) return;  // the whole warp
  const T* const pos = a.pos ? a.pos[a.start + row % a.seq_len] : nullptr;
  const T* const rows[] = {a.embed[a.tokens[row]]};
  each_pack<n, 4>(int(a.x.cols), rows, [&](int c, const auto& packs) {
    float v[n], p[n] = {};
    unpack(v, packs[0]);
    if (pos) load(p, pos + c);
    SIMT_UNROLL
    for (int i = 0; i < n; ++i) v[i] += p[i];
    store(a.x[row] + c, v);
  });
}

// Rows by token: token[i] never falls, and row[i] rises where it is the same.
struct Sorted {
  int32_t *token, *row;
};

// One pass of the sort, by the digit at `shift`. A first pass has no from.row: row i is i.
__global__ void __launch_bounds__(kMaxSortWarps* kWarp)
    sort_pass_kernel(Sorted to, const int32_t* token, const int32_t* row, int size, int shift) {
  SIMT_SHARED(int[kMaxSortWarps], smaller);
  SIMT_SHARED(int[kMaxSortWarps], own);
  const int digit = int(blockIdx.x), lane = simt::lane_id(), warp = simt::warp_id();
  const int warps = int(blockDim.x) / kWarp;
  const int share = int(round_up(ceil_div(size, warps), kWarp));  // of a warp
  const int first = warp * share, end = min(size, first + share);
  const auto digit_of = [&](int i) { return token[i] >> shift & (kDigits - 1); };

  int count_smaller = 0, count_own = 0;
  for (int i = first + lane; i < end; i += kWarp) {
    count_smaller += digit_of(i) < digit;
    count_own += digit_of(i) == digit;
  }
  count_smaller = warp_sum(count_smaller);
  count_own = warp_sum(count_own);
  if (lane == 0) smaller[warp] = count_smaller, own[warp] = count_own;
  simt::block_sync();

  int next = 0;
  for (int w = 0; w < warps; ++w) next += smaller[w] + (w < warp ? own[w] : 0);
  for (int group = first; group < end; group += kWarp) {
    const int i = group + lane;
    const bool mine = i < end && digit_of(i) == digit;
    const unsigned mask = simt::ballot(mine);
    if (mine) {
      const int at = next + std::popcount(mask & ((1u << lane) - 1));
      to.token[at] = token[i];
      to.row[at] = row ? row[i] : i;
    }
    next += std::popcount(mask);
  }
}

// sum[..] += rows first..end-1 of the sorted list, channels c.., in order.
template <int n, class T>
__device__ __forceinline__ void add_rows(float (&sum)[n], const Mat<const T>& dx, const int32_t* row,
                                         int first, int end, int c) {
  for (; first < end; first += kRowsAhead) {
    Pack<T, n> packs[kRowsAhead];
    SIMT_UNROLL
    for (int i = 0; i < kRowsAhead; ++i)
      if (first + i < end) packs[i] = load_pack<n>(dx[row[first + i]] + c);
    SIMT_UNROLL
    for (int i = 0; i < kRowsAhead; ++i)
      if (first + i < end) {
        float v[n];
        unpack(v, packs[i]);
        SIMT_UNROLL
        for (int j = 0; j < n; ++j) sum[j] += v[j];
      }
  }
}

// The first place after `first` whose token is another, in a sorted list.
__device__ __forceinline__ int end_of_run(const int32_t* token, int first, int size) {
  int low = first + 1, high = size;
  while (low < high) {
    const int middle = low + (high - low) / 2;
    if (token[middle] == token[first])
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

template <class T, int n>
__global__ void __launch_bounds__(kAddWarps* kWarp, 3) add_runs_kernel(EmbeddingBwd<T> a, Sorted sorted) {
  SIMT_SHARED(float[kAddWarps][kWarp][n], parts);
  const int size = int(a.tokens.size), begin = int(blockIdx.x) * kWindow, end = min(size, begin + kWindow);
  const int lane = simt::lane_id(), warp = simt::warp_id(), c = (int(blockIdx.y) * kWarp + lane) * n;
  const bool has_channels = c < a.dx.cols;
  const int32_t* const token = sorted.token;
  const auto starts_run = [&](int i) { return i == 0 || token[i] != token[i - 1]; };

  int leaving = end;  // where the run starts that leaves the window, if one does
  while (end < size && leaving > begin && token[leaving - 1] == token[end]) --leaving;

  for (int i = begin + warp; i < leaving; i += kAddWarps)
    if (has_channels && starts_run(i)) {
      int stop = i + 1;
      while (stop < leaving && token[stop] == token[i]) ++stop;
      float sum[n] = {};
      add_rows(sum, a.dx, sorted.row, i, stop, c);
      add(a.dembed[token[i]] + c, sum);
    }

  if (leaving == end || !starts_run(leaving)) return;  // the whole block
  const int64_t length = end_of_run(token, leaving, size) - leaving;
  if (has_channels) {
    float sum[n] = {};
    add_rows(sum, a.dx, sorted.row, leaving + int(warp * length / kAddWarps),
             leaving + int((warp + 1) * length / kAddWarps), c);
    SIMT_UNROLL
    for (int j = 0; j < n; ++j) parts[warp][lane][j] = sum[j];
  }
  simt::block_sync();
  if (warp > 0 || !has_channels) return;
  float sum[n] = {};
  for (int w = 0; w < kAddWarps; ++w) {
    SIMT_UNROLL
    for (int j = 0; j < n; ++j) sum[j] += parts[w][lane][j];
  }
  add(a.dembed[token[leaving]] + c, sum);
}

template <class T, int n>
__global__ void __launch_bounds__(kPosThreads) add_dpos_kernel(EmbeddingBwd<T> a) {
  const int64_t t = blockIdx.x;
  for (int64_t c = threadIdx.x * n; c < a.dx.cols; c += kPosThreads * n) {
    float sum[n] = {}, v[n];
    for (int64_t row = t; row < a.dx.rows; row += a.seq_len) {
      load(v, a.dx[row] + c);
      SIMT_UNROLL
      for (int j = 0; j < n; ++j) sum[j] += v[j];
    }
    add(a.dpos[t] + c, sum);
  }
}

template <class T>
Sorted sort_by_token(Stream stream, const EmbeddingBwd<T>& a) {
  const int64_t size = a.tokens.size, largest = a.dembed.rows - 1;
  const Sorted buffers[] = {{a.scratch.data, a.scratch.data + size},
                            {a.scratch.data + 2 * size, a.scratch.data + 3 * size}};
  const int64_t warps = std::min<int64_t>(kMaxSortWarps, ceil_div(size, kKeysPerWarp));
  Sorted to = buffers[0];
  for (int shift = 0; shift == 0 || largest >> shift > 0; shift += kDigitBits) {
    const Sorted from = to;
    to = buffers[shift / kDigitBits % 2];
    simt::launch(sort_pass_kernel, std::min<int64_t>(kDigits, (largest >> shift) + 1),
                 unsigned(warps * kWarp), 0, stream, to, shift == 0 ? a.tokens.data : from.token,
                 shift == 0 ? nullptr : from.row, size, shift);
  }
  return to;
}

}  // namespace

template <class T>
void embedding_fwd(Stream stream, const EmbeddingFwd<T>& a) {
  a.check();
  if (a.x.rows == 0) return;
  constexpr int n = kPack<T>;
  const bool packs = in_packs<n>(a.x) && in_packs<n>(a.embed) && in_packs<n>(a.pos);
  simt::launch(packs ? embedding_fwd_kernel<T, n> : embedding_fwd_kernel<T, 1>,
               ceil_div(a.x.rows, kRowsPerBlock), kRowsPerBlock * kWarp, 0, stream, a);
}

template <class T>
void embedding_bwd(Stream stream, const EmbeddingBwd<T>& a) {
  a.check();
  if (a.dx.rows == 0) return;
  constexpr int n = kChannels;
  const bool packs = in_packs<n>(a.dx) && in_packs<n>(a.dembed) && in_packs<n>(a.dpos);
  simt::launch(packs ? add_runs_kernel<T, n> : add_runs_kernel<T, 1>,
               {ceil_div(a.dx.rows, kWindow), ceil_div(a.dx.cols, kWarp * (packs ? n : 1))},
               kAddWarps * kWarp, 0, stream, a, sort_by_token(stream, a));
  if (a.dpos)
    simt::launch(packs ? add_dpos_kernel<T, n> : add_dpos_kernel<T, 1>, a.seq_len, kPosThreads, 0, stream, a);
}

template void embedding_fwd(Stream, const EmbeddingFwd<float>&);
template void embedding_fwd(Stream, const EmbeddingFwd<bf16>&);
template void embedding_bwd(Stream, const EmbeddingBwd<float>&);
template void embedding_bwd(Stream, const EmbeddingBwd<bf16>&);

}  // namespace saslm::cuda
