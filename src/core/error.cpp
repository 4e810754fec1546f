#include "core/error.h"

#include <cerrno>
#include <cstring>

namespace saslm {

IoError IoError::from_errno(const std::string& call, const std::string& path) {
  const int code = errno;
  return IoError(call + " " + path + ": " + std::strerror(code));
}

}  // namespace saslm
