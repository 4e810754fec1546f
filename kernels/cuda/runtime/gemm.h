// Matrix products by cuBLASLt, in its own terms: column-major D (m x n) = op(A) (m x k) op(B) (k x n) + beta
// C.
#pragma once
#include <cublasLt.h>

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kernels/cuda/runtime/gemm_table.h"

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

// A library handle, its workspace, and for every shape an algorithm among those that sum in a fixed order:
// the one that the library's heuristics rank first, which is the same on every run of one library on one kind
// of GPU; or, once a table is in use, the table's, or the fastest of those ranked first, timed when the shape
// first comes. fp32 is computed in fp32, without TF32. CudaError names the call and the shape.
class Gemm {
 public:
  Gemm();
  ~Gemm();
  Gemm(const Gemm&) = delete;
  Gemm& operator=(const Gemm&) = delete;

  void run(cudaStream_t stream, const GemmCall& call);

  // From now on algorithms are chosen by timing; those of `text`, a table's, in the place of any before.
  // False when they hold for another library or GPU: then nothing of it is used.
  bool use_table(const std::string& text);
  std::string table() const { return table_ ? table_->text() : ""; }

 private:
  // All that the choice may depend on: sizes, strides, types, transposition, C, bias, the data's alignment.
  using Shape = GemmTable::Shape;
  struct Plan {
    cublasLtMatmulDesc_t operation = nullptr;
    cublasLtMatrixLayout_t a = nullptr, b = nullptr, c = nullptr, d = nullptr;
    cublasLtMatmulAlgo_t algorithm{};
  };
  static Shape shape_of(const GemmCall& call);
  Plan make_plan(cudaStream_t stream, const GemmCall& call);
  std::vector<cublasLtMatmulAlgo_t> candidates(const Plan& plan, const GemmCall& call) const;
  cublasLtMatmulAlgo_t fastest(cudaStream_t stream, Plan plan, const GemmCall& call,
                               const std::vector<cublasLtMatmulAlgo_t>& of) const;
  void multiply(cudaStream_t stream, const Plan& plan, const GemmCall& call) const;
  static void destroy(const Plan& plan);

  cublasLtHandle_t handle_ = nullptr;
  void* workspace_ = nullptr;
  std::map<Shape, Plan> plans_;
  std::optional<GemmTable> table_;
};

// "cuBLASLt 13.1.0": the library that was loaded. MachineError when there is none.
std::string gemm_library();

}  // namespace saslm::cuda
