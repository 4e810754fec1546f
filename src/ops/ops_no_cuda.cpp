#include "core/error.h"
#include "ops/ops.h"

namespace saslm {

template <class T>
const Ops<T>& cuda_ops() {
  throw ConfigError("this build of saslm has no CUDA backend");
}
template const Ops<float>& cuda_ops<float>();
template const Ops<bf16>& cuda_ops<bf16>();

std::variant<Gpu, std::string> find_gpu(int) {
  return "this build of saslm has no CUDA backend; build it where nvcc is found (scripts/build.sh says where "
         "it "
         "looked), or use cpu";
}
int gpu_count() {
  return 0;
}
void use_gpu(int) {
  throw ConfigError("this build of saslm has no CUDA backend");
}

}  // namespace saslm
