// What is asked of the kernels that a program is linked with, before one is launched. All are compiled for
// the same cards, so what holds for one holds for all.
#pragma once

namespace saslm::cuda {

const void* any_kernel();  // as cudaFuncGetAttributes takes it; kernels/cuda/accumulate.cu, which is small
const char* code_words();  // "compute_80 sm_80 sm_90": what they are compiled for; from cmake/gpu_code.cmake

}  // namespace saslm::cuda
