// What a machine says of NVIDIA's GPUs without CUDA: for builds that have none, and for the reasons of those
// that fail.
#pragma once
#include <string>

namespace saslm {

struct NvidiaDriver {
  std::string version;       // "580.65.06"; "": none is loaded
  bool gpu_present = false;  // a device that programs could use
};

// root: where /proc and /dev are looked for.
NvidiaDriver nvidia_driver(const std::string& root = "/");

// The major version of the first driver that runs programs of a CUDA, 13 for CUDA 13.0; 0: not known.
int oldest_driver_for(int cuda_major);

// The user has hidden all GPUs: CUDA_VISIBLE_DEVICES is empty or -1.
bool gpus_are_hidden();

}  // namespace saslm
