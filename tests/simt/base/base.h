// Small kernels that are right: what the bug zoo spoils and the mutation runner takes apart.
//
//   layernorm    y = (x - mean) / sqrt(var + eps) * w + b, rows of bf16        shuffles, block_sync
//   gemm         c = a bᵀ; a (M, K), b (N, K) bf16, c float                    cp.async, ldmatrix, mma
//   gemm_sm90    the same on sm_90a                                            TMA, mbarrier, wgmma
//   flash        o = softmax(scale q kᵀ, causal) v, 64 wide, (heads, T, 64)    cp.async, ldmatrix, mma
//
// Layernorm takes columns by 8; M and N are multiples of 64, K of 32 (gemm_sm90: of 64); T is any.
#pragma once
#include "core/bf16.h"
#include "core/stream.h"
#include "core/view.h"

namespace saslm::simt {

void layernorm(Stream, Mat<bf16> y, Mat<const bf16> x, Vec<const bf16> w, Vec<const bf16> b, float eps);
void gemm(Stream, Mat<float> c, Mat<const bf16> a, Mat<const bf16> b);
void gemm_sm90(Stream, Mat<float> c, Mat<const bf16> a, Mat<const bf16> b);
void flash(Stream, bf16* o, const bf16* q, const bf16* k, const bf16* v, int heads, int T, float scale);

}  // namespace saslm::simt
