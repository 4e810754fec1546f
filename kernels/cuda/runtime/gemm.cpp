// Contract: kernels/cuda/runtime/gemm.h.
#include "kernels/cuda/runtime/gemm.h"

#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <string>
#include <type_traits>

#include "core/error.h"

namespace saslm::cuda {
namespace {

// The library, loaded when it is first needed: a program that computes on a CPU shall neither need it nor
// carry its 120 MB.
struct CublasLt {
  decltype(&cublasLtCreate) create;
  decltype(&cublasLtDestroy) destroy;
  decltype(&cublasLtGetStatusString) get_status_string;
  decltype(&cublasLtMatmul) matmul;
  decltype(&cublasLtMatmulAlgoGetHeuristic) matmul_algo_get_heuristic;
  decltype(&cublasLtMatmulDescCreate) matmul_desc_create;
  decltype(&cublasLtMatmulDescDestroy) matmul_desc_destroy;
  decltype(&cublasLtMatmulDescSetAttribute) matmul_desc_set_attribute;
  decltype(&cublasLtMatmulPreferenceCreate) matmul_preference_create;
  decltype(&cublasLtMatmulPreferenceDestroy) matmul_preference_destroy;
  decltype(&cublasLtMatmulPreferenceSetAttribute) matmul_preference_set_attribute;
  decltype(&cublasLtMatrixLayoutCreate) matrix_layout_create;
  decltype(&cublasLtMatrixLayoutDestroy) matrix_layout_destroy;
};

const CublasLt& cublas_lt() {
  static const CublasLt library = [] {
    const std::string name = "libcublasLt.so." + std::to_string(CUBLAS_VER_MAJOR);
    void* handle = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) handle = dlopen((SASLM_CUDA_LIBRARIES "/" + name).c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr)
      throw MachineError("training on a GPU needs cuBLAS: " + std::string(dlerror()) +
                         "; install the CUDA toolkit's cuBLAS, or name its folder in LD_LIBRARY_PATH");
    const auto find = [&](auto& function, const char* symbol) {
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(handle, symbol));
      if (function == nullptr)
        throw MachineError(name + " has no " + symbol + "; wanted the version saslm was built with");
    };
    CublasLt found{};
    find(found.create, "cublasLtCreate");
    find(found.destroy, "cublasLtDestroy");
    find(found.get_status_string, "cublasLtGetStatusString");
    find(found.matmul, "cublasLtMatmul");
    find(found.matmul_algo_get_heuristic, "cublasLtMatmulAlgoGetHeuristic");
    find(found.matmul_desc_create, "cublasLtMatmulDescCreate");
    find(found.matmul_desc_destroy, "cublasLtMatmulDescDestroy");
    find(found.matmul_desc_set_attribute, "cublasLtMatmulDescSetAttribute");
    find(found.matmul_preference_create, "cublasLtMatmulPreferenceCreate");
    find(found.matmul_preference_destroy, "cublasLtMatmulPreferenceDestroy");
    find(found.matmul_preference_set_attribute, "cublasLtMatmulPreferenceSetAttribute");
    find(found.matrix_layout_create, "cublasLtMatrixLayoutCreate");
    find(found.matrix_layout_destroy, "cublasLtMatrixLayoutDestroy");
    return found;
  }();
  return library;
}

constexpr size_t kWorkspaceBytes = size_t{32} << 20;  // what cuBLAS advises for Hopper

std::string text(const GemmCall& c) {
  return "m " + std::to_string(c.m) + ", n " + std::to_string(c.n) + ", k " + std::to_string(c.k);
}

void check_blas(cublasStatus_t status, const char* call, const GemmCall& shape) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw CudaError(std::string(call) + " for a product with " + text(shape) + ": " +
                    cublas_lt().get_status_string(status));
}

template <class X>
void set(cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t key, X value, const GemmCall& shape) {
  check_blas(cublas_lt().matmul_desc_set_attribute(operation, key, &value, sizeof value),
             "cublasLtMatmulDescSetAttribute", shape);
}
template <class X>
void set(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t key, X value,
         const GemmCall& shape) {
  check_blas(cublas_lt().matmul_preference_set_attribute(preference, key, &value, sizeof value),
             "cublasLtMatmulPreferenceSetAttribute", shape);
}

cublasLtMatrixLayout_t layout(cudaDataType_t type, int64_t rows, int64_t cols, int64_t ld,
                              const GemmCall& shape) {
  cublasLtMatrixLayout_t made = nullptr;
  check_blas(cublas_lt().matrix_layout_create(&made, type, uint64_t(rows), uint64_t(cols), ld),
             "cublasLtMatrixLayoutCreate", shape);
  return made;
}

// The largest power of two up to 256 that divides the address.
uint32_t alignment(const void* p) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(p) | 256;
  return uint32_t(address & (~address + 1));
}

}  // namespace

Gemm::Gemm() {
  if (const cublasStatus_t status = cublas_lt().create(&handle_); status != CUBLAS_STATUS_SUCCESS)
    throw CudaError(std::string("cublasLtCreate: ") + cublas_lt().get_status_string(status));
  if (const cudaError_t error = cudaMalloc(&workspace_, kWorkspaceBytes); error != cudaSuccess)
    throw CudaError(std::string("cudaMalloc of cuBLAS's workspace: ") + cudaGetErrorString(error));
}

Gemm::~Gemm() {
  for (const auto& [shape, plan] : plans_) destroy(plan);
  cudaFree(workspace_);
  cublas_lt().destroy(handle_);
}

void Gemm::destroy(const Plan& plan) {
  for (const cublasLtMatrixLayout_t matrix : {plan.a, plan.b, plan.c, plan.d})
    cublas_lt().matrix_layout_destroy(matrix);
  cublas_lt().matmul_desc_destroy(plan.operation);
}

Gemm::Shape Gemm::shape_of(const GemmCall& c) {
  return {c.m,
          c.n,
          c.k,
          c.lda,
          c.ldb,
          c.ldc,
          c.ldd,
          c.ab_type,
          c.cd_type,
          c.a_transposed,
          c.b_transposed,
          c.c != nullptr,
          c.bias != nullptr,
          alignment(c.a),
          alignment(c.b),
          int64_t{alignment(c.c)} * 512 + alignment(c.d)};
}

Gemm::Plan Gemm::make_plan(const GemmCall& c) const {
  Plan plan;
  check_blas(cublas_lt().matmul_desc_create(&plan.operation, CUBLAS_COMPUTE_32F, CUDA_R_32F),
             "cublasLtMatmulDescCreate", c);
  set(plan.operation, CUBLASLT_MATMUL_DESC_TRANSA, c.a_transposed ? CUBLAS_OP_T : CUBLAS_OP_N, c);
  set(plan.operation, CUBLASLT_MATMUL_DESC_TRANSB, c.b_transposed ? CUBLAS_OP_T : CUBLAS_OP_N, c);
  if (c.bias) {
    set(plan.operation, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS, c);
    set(plan.operation, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, c.cd_type, c);
  }
  plan.a = layout(c.ab_type, c.a_transposed ? c.k : c.m, c.a_transposed ? c.m : c.k, c.lda, c);
  plan.b = layout(c.ab_type, c.b_transposed ? c.n : c.k, c.b_transposed ? c.k : c.n, c.ldb, c);
  plan.c = layout(c.cd_type, c.m, c.n, c.c ? c.ldc : c.ldd, c);
  plan.d = layout(c.cd_type, c.m, c.n, c.ldd, c);

  cublasLtMatmulPreference_t preference = nullptr;
  check_blas(cublas_lt().matmul_preference_create(&preference), "cublasLtMatmulPreferenceCreate", c);
  set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kWorkspaceBytes, c);
  // Not INPLACE, whose order of sums is that in which blocks happen to finish.
  set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      uint32_t{CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE}, c);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment(c.a), c);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment(c.b), c);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment(c.c ? c.c : c.d), c);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment(c.d), c);
  cublasLtMatmulHeuristicResult_t best{};
  int found = 0;
  const cublasStatus_t status = cublas_lt().matmul_algo_get_heuristic(
      handle_, plan.operation, plan.a, plan.b, plan.c, plan.d, preference, 1, &best, &found);
  cublas_lt().matmul_preference_destroy(preference);
  check_blas(status, "cublasLtMatmulAlgoGetHeuristic", c);
  if (found == 0) throw CudaError("cuBLASLt has no algorithm for a product with " + text(c));
  plan.algorithm = best.algo;
  return plan;
}

void Gemm::run(cudaStream_t stream, const GemmCall& c) {
  const Shape shape = shape_of(c);
  auto found = plans_.find(shape);
  if (found == plans_.end()) found = plans_.emplace(shape, make_plan(c)).first;
  const Plan& plan = found->second;
  if (c.bias) set(plan.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, c.bias, c);
  const float alpha = 1, beta = c.c ? 1 : 0;
  check_blas(
      cublas_lt().matmul(handle_, plan.operation, &alpha, c.a, plan.a, c.b, plan.b, &beta, c.c ? c.c : c.d,
                         plan.c, c.d, plan.d, &plan.algorithm, workspace_, kWorkspaceBytes, stream),
      "cublasLtMatmul", c);
}

}  // namespace saslm::cuda
