// One of the kernels, to ask CUDA about: all are compiled for the same cards, so what holds for it holds for
// all.
#pragma once

namespace saslm::cuda {

const void* any_kernel();  // as cudaFuncGetAttributes takes it; kernels/cuda/accumulate.cu, which is small

}  // namespace saslm::cuda
