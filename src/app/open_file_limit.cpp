#include "app/open_file_limit.h"

#include <sys/resource.h>

#include <algorithm>

namespace saslm {

void raise_open_file_limit() {
  constexpr rlim_t kEnough = 16384;
  rlimit limit = {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= kEnough) return;
  limit.rlim_cur = std::min(limit.rlim_max, kEnough);
  ::setrlimit(RLIMIT_NOFILE, &limit);  // where it is refused, fewer will do
}

}  // namespace saslm
