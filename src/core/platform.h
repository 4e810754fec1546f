// What decides the last bits of a backend's arithmetic, beside the program itself. "": not known, or not
// there: on the CPU all are.
#pragma once
#include <string>

namespace saslm {

struct Platform {
  std::string gpu;         // "NVIDIA H200"
  std::string capability;  // "9.0"
  std::string driver;      // "580.65.06, CUDA 13.0": its own version where it says, and CUDA's that it knows
  std::string runtime;     // "13.0": CUDA's that the program was linked with
  std::string library;     // of matrix products: "cuBLASLt 13.1.0"
};

}  // namespace saslm
