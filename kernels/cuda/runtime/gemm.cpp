// Contract: kernels/cuda/runtime/gemm.h.
#include "kernels/cuda/runtime/gemm.h"

#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <algorithm>
#include <bit>
#include <memory>
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
  decltype(&cublasLtGetVersion) get_version;
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
    find(found.get_version, "cublasLtGetVersion");
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

// The GPU's own clock around what is queued between start() and milliseconds(), which waits for it.
class Stopwatch {
 public:
  explicit Stopwatch(cudaStream_t stream) : stream_(stream) {
    check(cudaEventCreate(&begin_)), check(cudaEventCreate(&end_));
  }
  ~Stopwatch() { cudaEventDestroy(begin_), cudaEventDestroy(end_); }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

  void start() { check(cudaEventRecord(begin_, stream_)); }
  float milliseconds() {
    float time = 0;
    check(cudaEventRecord(end_, stream_)), check(cudaEventSynchronize(end_));
    check(cudaEventElapsedTime(&time, begin_, end_));
    return time;
  }

 private:
  static void check(cudaError_t error) {
    if (error != cudaSuccess)
      throw CudaError(std::string("timing of a product: ") + cudaGetErrorString(error));
  }
  cudaStream_t stream_;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

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

Gemm::Plan Gemm::make_plan(cudaStream_t stream, const GemmCall& c) {
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

  const GemmTable::Algorithm* const known = table_ ? table_->find(shape_of(c)) : nullptr;
  if (known != nullptr) {
    plan.algorithm = std::bit_cast<cublasLtMatmulAlgo_t>(*known);
    return plan;
  }
  const std::vector<cublasLtMatmulAlgo_t> ranked = candidates(plan, c);
  plan.algorithm = ranked[0];
  if (table_) {
    plan.algorithm = fastest(stream, plan, c, ranked);
    table_->put(shape_of(c), std::bit_cast<GemmTable::Algorithm>(plan.algorithm));
  }
  return plan;
}

// As the library ranks them: one, or several to choose from.
std::vector<cublasLtMatmulAlgo_t> Gemm::candidates(const Plan& plan, const GemmCall& c) const {
  constexpr int kTimed = 8;
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
  std::vector<cublasLtMatmulHeuristicResult_t> results(table_ ? kTimed : 1);
  int found = 0;
  const cublasStatus_t status =
      cublas_lt().matmul_algo_get_heuristic(handle_, plan.operation, plan.a, plan.b, plan.c, plan.d,
                                            preference, int(results.size()), results.data(), &found);
  cublas_lt().matmul_preference_destroy(preference);
  check_blas(status, "cublasLtMatmulAlgoGetHeuristic", c);
  if (found == 0) throw CudaError("cuBLASLt has no algorithm for a product with " + text(c));
  std::vector<cublasLtMatmulAlgo_t> algorithms;
  for (int i = 0; i < found; ++i)
    if (i == 0 || results[size_t(i)].state == CUBLAS_STATUS_SUCCESS)
      algorithms.push_back(results[size_t(i)].algo);
  return algorithms;
}

// Each computes the product as it stands, into scratch: D may be what C is read from. Where there is no
// memory for that, the first must do.
cublasLtMatmulAlgo_t Gemm::fastest(cudaStream_t stream, Plan plan, const GemmCall& c,
                                   const std::vector<cublasLtMatmulAlgo_t>& of) const {
  constexpr int kRuns = 5;
  GemmCall into_scratch = c;
  const size_t bytes = size_t(c.n * c.ldd) * (c.cd_type == CUDA_R_16BF ? 2 : 4);
  if (of.size() < 2) return of[0];
  if (cudaMalloc(&into_scratch.d, bytes) != cudaSuccess) {
    cudaGetLastError();
    return of[0];
  }
  const std::unique_ptr<void, decltype(&cudaFree)> freed(into_scratch.d, cudaFree);
  Stopwatch watch(stream);
  std::vector<float> times;
  for (const cublasLtMatmulAlgo_t& algorithm : of) {
    plan.algorithm = algorithm;
    multiply(stream, plan, into_scratch);  // whatever is made or loaded at first
    std::vector<float> runs;
    for (int run = 0; run < kRuns; ++run) {
      watch.start();
      multiply(stream, plan, into_scratch);
      runs.push_back(watch.milliseconds());
    }
    std::nth_element(runs.begin(), runs.begin() + kRuns / 2, runs.end());
    times.push_back(runs[kRuns / 2]);
  }
  return of[choose(times)];
}

void Gemm::multiply(cudaStream_t stream, const Plan& plan, const GemmCall& c) const {
  if (c.bias) set(plan.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, c.bias, c);
  const float alpha = 1, beta = c.c ? 1 : 0;
  check_blas(
      cublas_lt().matmul(handle_, plan.operation, &alpha, c.a, plan.a, c.b, plan.b, &beta, c.c ? c.c : c.d,
                         plan.c, c.d, plan.d, &plan.algorithm, workspace_, kWorkspaceBytes, stream),
      "cublasLtMatmul", c);
}

void Gemm::run(cudaStream_t stream, const GemmCall& c) {
  const Shape shape = shape_of(c);
  auto found = plans_.find(shape);
  if (found == plans_.end()) found = plans_.emplace(shape, make_plan(stream, c)).first;
  multiply(stream, found->second, c);
}

std::string gemm_library() {
  const size_t version = cublas_lt().get_version();  // 120405: 12.4.5; 130100: 13.1.0
  return "cuBLASLt " + std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

bool Gemm::use_table(const std::string& text) {
  cudaDeviceProp gpu{};
  int device = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess) error = cudaGetDeviceProperties(&gpu, device);
  if (error != cudaSuccess) throw CudaError(std::string("the name of the GPU: ") + cudaGetErrorString(error));
  if (!table_) table_.emplace("cuBLASLt " + std::to_string(cublas_lt().get_version()) + " " + gpu.name);
  for (const auto& [shape, plan] : plans_) destroy(plan);
  plans_.clear();  // made by earlier choices
  return table_->add(text);
}

}  // namespace saslm::cuda
