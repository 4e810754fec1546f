#include "data/input.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "core/error.h"

namespace saslm {

static_assert(sizeof(off_t) == 8, "offsets must be 64-bit");

namespace {

template <class Open>
File open_for_reading(const std::string& path, Open open) {
  try {
    return open();
  } catch (const WrongKindError& error) {
    throw DataError(error.what());
  } catch (const IoError&) {
    switch (errno) {
      case ENOENT:
      case EACCES:
      case EPERM:
      case ENOTDIR:
      case ELOOP:
      case ENAMETOOLONG:
      case ENXIO:  // a socket
        throw DataError(path + ": cannot be opened: " + std::strerror(errno));
      case EMFILE:
        throw IoError("open " + path + ": " + std::strerror(errno) + "; raise the limit with `ulimit -n`");
      default:
        throw;
    }
  }
}

mode_t kind_of(const File& file) {
  struct stat status = {};
  if (::fstat(file.fd(), &status) != 0) throw IoError::from_errno("fstat", file.path());
  return status.st_mode;
}

}  // namespace

File open_regular(const std::string& path) {
  std::error_code unknown;
  if (std::filesystem::is_directory(path, unknown))
    throw DataError(path + ": is a folder, not a regular file; name the files in it by a pattern, as " +
                    path + "/*.bin");
  return open_for_reading(path, [&] { return File(path, O_RDONLY); });
}

File open_stream(const std::string& path) {
  File file = open_for_reading(path, [&] { return File::stream(path); });
  if (S_ISDIR(kind_of(file))) throw DataError(path + ": is a directory, wanted a file");
  return file;
}

bool is_regular(const File& file) {
  return S_ISREG(kind_of(file));
}

}  // namespace saslm
