// The one header of a CUDA kernel. The same source is compiled twice:
//
//   nvcc             gpu_*.h   thin wrappers of PTX, no cost
//   g++, clang++     cpu_*.h   every CUDA thread is a fiber, the grid runs on the CPU and is checked
//
// README.md beside this file has the rules for kernel authors and the list of primitives.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "core/bf16.h"
#include "core/error.h"
#include "core/stream.h"

#if defined(__CUDACC__)
#include "kernels/simt/gpu_basic.h"
#include "kernels/simt/gpu_copy.h"
#include "kernels/simt/gpu_launch.h"
#include "kernels/simt/gpu_mma.h"
#else
#include "kernels/simt/cpu_basic.h"
#include "kernels/simt/cpu_copy.h"
#include "kernels/simt/cpu_launch.h"
#include "kernels/simt/cpu_mma.h"
#endif
