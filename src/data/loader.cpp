#include "data/loader.h"

namespace saslm {

void BatchLoader::load(uint64_t first, TokenBuffer& into) const {
  for (int64_t b = 0; b < into.B(); ++b) set_.read(order_(first + uint64_t(b)), into.row(b));
}

}  // namespace saslm
