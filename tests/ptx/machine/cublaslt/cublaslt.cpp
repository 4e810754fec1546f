// A cuBLASLt of the host (a library that stands where libcublasLt.so is looked for): the calls that saslm
// makes, in the manual's terms.
//
//   D = alpha op(A) op(B) + beta C, and + bias of D's rows with CUBLASLT_EPILOGUE_BIAS; matrices are
//   column-major
//
// Types: bf16 and float; sums are float, in a fixed order. Algorithms: three, which are one.
// Checked: sizes, strides, alignment, and that operands lie in memory of the device (the program that loads
// this is asked by ptx_is_device_memory; a program without it is not checked).
#include <cublasLt.h>
#include <dlfcn.h>

#include <cstdio>
#include <cstring>
#include <vector>

namespace {

struct Operation {
  cublasOperation_t a = CUBLAS_OP_N, b = CUBLAS_OP_N;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;
  int bias_type = CUDA_R_32F;
};

struct Layout {
  cudaDataType type;
  int64_t rows, cols, stride;  // stride: from column to column
};

// An operand where it lies, with its layout.
struct Matrix {
  const void* at;
  const Layout& l;
  bool transposed = false;

  int64_t rows() const { return transposed ? l.cols : l.rows; }
  int64_t cols() const { return transposed ? l.rows : l.cols; }
  int64_t index(int64_t row, int64_t col) const {
    return transposed ? col + row * l.stride : row + col * l.stride;
  }
};

size_t size_of(cudaDataType t) {
  return t == CUDA_R_16BF ? 2 : 4;
}

float get(const void* p, cudaDataType t, int64_t i) {
  if (t == CUDA_R_32F) return static_cast<const float*>(p)[i];
  return __builtin_bit_cast(float, uint32_t(static_cast<const uint16_t*>(p)[i]) << 16);
}

void put(void* p, cudaDataType t, int64_t i, float v) {
  if (t == CUDA_R_32F) {
    static_cast<float*>(p)[i] = v;
    return;
  }
  const auto bits = __builtin_bit_cast(uint32_t, v);
  static_cast<uint16_t*>(p)[i] = v != v ? 0x7fff : uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

bool on_device(const void* p, size_t bytes, const char* what) {
  using Check = int (*)(const void*, size_t);
  static const auto check = reinterpret_cast<Check>(dlsym(RTLD_DEFAULT, "ptx_is_device_memory"));
  if (check == nullptr || check(p, bytes) != 0) return true;
  std::fprintf(stderr, "PTX FAULT: cuBLASLt: %s of %zu bytes at %p is not memory of the device\n", what,
               bytes, p);
  return false;
}

bool is_usable(const Matrix& m, const char* what) {
  const size_t bytes = size_t((m.l.cols - 1) * m.l.stride + m.l.rows) * size_of(m.l.type);
  return reinterpret_cast<uintptr_t>(m.at) % size_of(m.l.type) == 0 && on_device(m.at, bytes, what);
}

// Row by row, so that sums run over neighbours.
std::vector<float> packed(const Matrix& m) {
  std::vector<float> all(size_t(m.rows() * m.cols()));
  for (int64_t r = 0; r < m.rows(); ++r)
    for (int64_t c = 0; c < m.cols(); ++c) all[size_t(r * m.cols() + c)] = get(m.at, m.l.type, m.index(r, c));
  return all;
}

float dot(const float* x, const float* y, int64_t n) {
  constexpr int kLanes = 16;
  float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int t = 0; t < kLanes; ++t) lanes[t] += x[i + t] * y[i + t];
  for (; i < n; ++i) lanes[0] += x[i] * y[i];
  float sum = 0;
  for (const float v : lanes) sum += v;
  return sum;
}

template <class T>
const T& as(const void* handle) {
  return *static_cast<const T*>(handle);
}

}  // namespace

extern "C" {

size_t cublasLtGetVersion() {
  return 130000;
}

const char* cublasLtGetStatusString(cublasStatus_t s) {
  return s == CUBLAS_STATUS_SUCCESS ? "success" : "an error of cuBLASLt's stand-in";
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t* h) {
  *h = reinterpret_cast<cublasLtHandle_t>(new int);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t h) {
  delete reinterpret_cast<int*>(h);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* d, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
  if (compute != CUBLAS_COMPUTE_32F || scale != CUDA_R_32F) return CUBLAS_STATUS_NOT_SUPPORTED;
  *d = reinterpret_cast<cublasLtMatmulDesc_t>(new Operation);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d) {
  delete reinterpret_cast<Operation*>(d);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t d, cublasLtMatmulDescAttributes_t key,
                                              const void* value, size_t bytes) {
  auto& op = *reinterpret_cast<Operation*>(d);
  const auto set = [&](auto& field) {
    if (bytes != sizeof field) return CUBLAS_STATUS_INVALID_VALUE;
    std::memcpy(&field, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
  };
  switch (key) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return set(op.a);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return set(op.b);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      return set(op.epilogue);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      return set(op.bias);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
      return set(op.bias_type);
    default:
      return CUBLAS_STATUS_NOT_SUPPORTED;
  }
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* p) {
  *p = reinterpret_cast<cublasLtMatmulPreference_t>(new int);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p) {
  delete reinterpret_cast<int*>(p);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t,
                                                    cublasLtMatmulPreferenceAttributes_t, const void*,
                                                    size_t) {
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* l, cudaDataType type, uint64_t rows,
                                          uint64_t cols, int64_t stride) {
  const bool known = type == CUDA_R_32F || type == CUDA_R_16BF;
  if (!known || rows == 0 || cols == 0 || stride < int64_t(rows)) {
    std::fprintf(stderr, "PTX FAULT: cuBLASLt: layout of %llu x %llu, stride %lld\n",
                 static_cast<unsigned long long>(rows), static_cast<unsigned long long>(cols),
                 static_cast<long long>(stride));
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  *l = reinterpret_cast<cublasLtMatrixLayout_t>(new Layout{type, int64_t(rows), int64_t(cols), stride});
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l) {
  delete reinterpret_cast<Layout*>(l);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatmulPreference_t, int wanted,
                                              cublasLtMatmulHeuristicResult_t* results, int* found) {
  constexpr int kAlgorithms = 3;
  *found = wanted < kAlgorithms ? wanted : kAlgorithms;
  for (int i = 0; i < *found; ++i) {
    std::memset(&results[i], 0, sizeof results[i]);
    results[i].algo.data[0] = uint64_t(i) + 1;
    results[i].state = CUBLAS_STATUS_SUCCESS;
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc, const void* alpha, const void* A,
                              cublasLtMatrixLayout_t la, const void* B, cublasLtMatrixLayout_t lb,
                              const void* beta, const void* C, cublasLtMatrixLayout_t lc, void* D,
                              cublasLtMatrixLayout_t ld, const cublasLtMatmulAlgo_t*, void*, size_t,
                              cudaStream_t) {
  const auto& op = as<Operation>(desc);
  const Matrix a{A, as<Layout>(la), op.a == CUBLAS_OP_T}, b{B, as<Layout>(lb), op.b == CUBLAS_OP_T};
  const Matrix c{C, as<Layout>(lc)}, d{D, as<Layout>(ld)};
  const int64_t k = a.cols();
  const bool fits = a.rows() == d.rows() && b.cols() == d.cols() && b.rows() == k && c.rows() == d.rows() &&
                    c.cols() == d.cols() && a.l.type == b.l.type && c.l.type == d.l.type;
  const float scale = as<float>(alpha), keep = as<float>(beta);
  if (!fits || !is_usable(a, "A") || !is_usable(b, "B") || !is_usable(d, "D"))
    return CUBLAS_STATUS_INVALID_VALUE;
  if (keep != 0 && (!is_usable(c, "C") || (C == D && c.l.stride != d.l.stride)))
    return CUBLAS_STATUS_INVALID_VALUE;
  const auto bias_type = cudaDataType(op.bias_type);
  const bool biased = op.epilogue == CUBLASLT_EPILOGUE_BIAS;
  if (biased && !on_device(op.bias, size_t(d.rows()) * size_of(bias_type), "bias"))
    return CUBLAS_STATUS_INVALID_VALUE;

  const Matrix columns_of_b{b.at, b.l, !b.transposed};
  const std::vector<float> x = packed(a), y = packed(columns_of_b);
  for (int64_t j = 0; j < d.cols(); ++j)
    for (int64_t i = 0; i < d.rows(); ++i) {
      float sum = scale * dot(&x[size_t(i * k)], &y[size_t(j * k)], k);
      if (keep != 0) sum += keep * get(C, c.l.type, c.index(i, j));
      if (biased) sum += get(op.bias, bias_type, i);
      put(D, d.l.type, d.index(i, j), sum);
    }
  return CUBLAS_STATUS_SUCCESS;
}

}  // extern "C"
