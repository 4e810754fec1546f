// Matrix products by cuBLASLt, in its own terms: column-major D (m x n) = op(A) (m x k) op(B) (k x n) + beta
// C.
#pragma once
#include <cublasLt.h>

#include <array>
#include <cstdint>
#include <map>

namespace saslm::cuda {

struct GemmCall {
  int64_t m = 0, n = 0, k = 0;
  bool a_transposed = false, b_transposed = false;
  cudaDataType_t ab_type = CUDA_R_16BF, cd_type = CUDA_R_16BF;
  const void* a = nullptr;
  const void* b = nullptr;
  const void* c = nullptr;     // nullptr: no C, beta = 0; else beta = 1
  void* d = nullptr;           // may be c
  const void* bias = nullptr;  // (m), of cd_type, or absent
  int64_t lda = 0, ldb = 0, ldc = 0, ldd = 0;
};

// A library handle, its workspace, and for every shape the algorithm that the library's heuristics rank first
// among those that sum in a fixed order: the same on every run of one library on one kind of GPU. fp32 is
// computed in fp32, without TF32. CudaError names the call and the shape.
class Gemm {
 public:
  Gemm();
  ~Gemm();
  Gemm(const Gemm&) = delete;
  Gemm& operator=(const Gemm&) = delete;

  void run(cudaStream_t stream, const GemmCall& call);

 private:
  // All that the choice may depend on: sizes, strides, types, transposition, C, bias, the data's alignment.
  using Shape = std::array<int64_t, 16>;
  struct Plan {
    cublasLtMatmulDesc_t operation = nullptr;
    cublasLtMatrixLayout_t a = nullptr, b = nullptr, c = nullptr, d = nullptr;
    cublasLtMatmulAlgo_t algorithm{};
  };
  static Shape shape_of(const GemmCall& call);
  Plan make_plan(const GemmCall& call) const;
  static void destroy(const Plan& plan);

  cublasLtHandle_t handle_ = nullptr;
  void* workspace_ = nullptr;
  std::map<Shape, Plan> plans_;
};

}  // namespace saslm::cuda
