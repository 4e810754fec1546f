#include "data/loader.h"

namespace saslm {

void BatchLoader::load(uint64_t first, int64_t B, int32_t* inputs, int32_t* targets) const {
  const int64_t T = set_.seq_len();
  for (int64_t b = 0; b < B; ++b) set_.read(order_(first + uint64_t(b)), inputs + b * T, targets + b * T);
}

}  // namespace saslm
