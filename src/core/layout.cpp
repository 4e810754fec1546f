#include "core/layout.h"

namespace saslm {

const char* name_of(Region region) {
  constexpr const char* kNames[kRegions] = {"parameters", "masters",  "gradients",   "optimizer",
                                            "tables",     "snapshot", "activations", "scratch"};
  return kNames[int(region)];
}

}  // namespace saslm
