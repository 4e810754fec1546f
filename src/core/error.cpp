#include "core/error.h"

#include <sys/resource.h>

#include <cerrno>
#include <cstring>

namespace saslm {

namespace {

// Explains which limit a file has reached.
std::string remedy_of(int code) {
  rlimit limit{};
  if (code != EFBIG || ::getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return "";
  return ": the file size limit is " + std::to_string(limit.rlim_cur) + " bytes; raise it with `ulimit -f`";
}

}  // namespace

IoError IoError::from_errno(const std::string& call, const std::string& path) {
  const int code = errno;
  return IoError(call + " " + path + ": " + std::strerror(code) + remedy_of(code));
}

}  // namespace saslm
