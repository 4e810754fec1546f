#include "core/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>

#include "core/error.h"

namespace saslm {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kTempMark = ".tmp_";  // followed by the writing process

template <class Call>
auto retry_interrupted(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

[[noreturn]] void fail(const char* call, const std::string& path, const std::error_code& code) {
  throw IoError(std::string(call) + " " + path + ": " + code.message());
}

std::string parent_of(const std::string& path) {
  const std::string parent = fs::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

}  // namespace

File::File(std::string path, int flags, unsigned mode) : path_(std::move(path)) {
  const bool folder = (flags & O_DIRECTORY) != 0, written = (flags & O_ACCMODE) != O_RDONLY;
  if (!folder) flags |= O_NONBLOCK | O_NOCTTY;  // no effect on regular files; prevents waiting for others
  if (written) flags |= O_NOFOLLOW;
  open(flags, mode);
  if (!folder) require_regular();
}

File File::stream(std::string path) {
  File file;
  file.path_ = std::move(path);
  file.open(O_RDONLY, 0);
  return file;
}

void File::open(int flags, unsigned mode) {
  fd_ = retry_interrupted([&] { return ::open(path_.c_str(), flags | O_CLOEXEC, mode); });
  if (fd_ >= 0) return;
  const int code = errno;
  std::error_code unknown;
  if (code == ELOOP && (flags & O_NOFOLLOW) && fs::is_symlink(path_, unknown))
    throw WrongKindError(
        path_ + ": not a regular file but a symbolic link, which saslm does not write through; remove it");
  if (code == ENXIO && (flags & O_NONBLOCK))  // a FIFO without a reader
    throw WrongKindError(path_ + ": not a regular file but a pipe or a socket");
  errno = code;
  throw IoError::from_errno("open", path_);
}

void File::require_regular() const {
  struct stat info;
  if (::fstat(fd_, &info) != 0) throw IoError::from_errno("stat", path_);
  if (S_ISREG(info.st_mode)) return;
  const char* kind = S_ISDIR(info.st_mode) ? "a folder" : S_ISFIFO(info.st_mode) ? "a pipe" : "a device";
  throw WrongKindError(path_ + ": not a regular file but " + kind);
}

File::File(File&& other) noexcept : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}

File& File::operator=(File&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  return *this;
}

File::~File() {
  if (fd_ >= 0) ::close(fd_);  // important data was already synced, so errors here do not matter
}

int64_t File::size() const {
  struct stat info;
  if (::fstat(fd_, &info) != 0) throw IoError::from_errno("stat", path_);
  return info.st_size;
}

std::pair<uint64_t, uint64_t> File::identity() const {
  struct stat info;
  if (::fstat(fd_, &info) != 0) throw IoError::from_errno("stat", path_);
  return {info.st_dev, info.st_ino};
}

int64_t File::changed_ns() const {
  struct stat info;
  if (::fstat(fd_, &info) != 0) throw IoError::from_errno("stat", path_);
  return int64_t(info.st_ctim.tv_sec) * 1'000'000'000 + info.st_ctim.tv_nsec;
}

void File::write_all(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = retry_interrupted([&] { return ::write(fd_, bytes.data(), bytes.size()); });
    if (n < 0) throw IoError::from_errno("write", path_);
    bytes = bytes.subspan(size_t(n));
  }
}

void File::pwrite_all(std::span<const std::byte> bytes, int64_t offset) {
  while (!bytes.empty()) {
    const ssize_t n = retry_interrupted([&] { return ::pwrite(fd_, bytes.data(), bytes.size(), offset); });
    if (n < 0) throw IoError::from_errno("write", path_);
    bytes = bytes.subspan(size_t(n));
    offset += n;
  }
}

int64_t File::read_some(std::span<std::byte> out) const {
  const size_t wanted = out.size();
  while (!out.empty()) {
    const ssize_t n = retry_interrupted([&] { return ::read(fd_, out.data(), out.size()); });
    if (n < 0) throw IoError::from_errno("read", path_);
    if (n == 0) break;
    out = out.subspan(size_t(n));
  }
  return int64_t(wanted - out.size());
}

void File::seek(int64_t offset) {
  if (::lseek(fd_, offset, SEEK_SET) < 0) throw IoError::from_errno("seek in", path_);
}

void File::pread_all(std::span<std::byte> out, int64_t offset) const {
  while (!out.empty()) {
    const ssize_t n = retry_interrupted([&] { return ::pread(fd_, out.data(), out.size(), offset); });
    if (n < 0) throw IoError::from_errno("read", path_);
    if (n == 0) {
      throw IoError("read " + path_ + ": the file ends at byte " + std::to_string(offset) + ", " +
                    std::to_string(out.size()) + " bytes too early");
    }
    out = out.subspan(size_t(n));
    offset += n;
  }
}

void File::preallocate(int64_t bytes) {
  if (bytes == 0) return;
  if (retry_interrupted([&] { return ::fallocate(fd_, 0, 0, bytes); }) == 0) return;
  if (errno != EOPNOTSUPP && errno != ENOSYS) {
    throw IoError::from_errno("reserve " + std::to_string(bytes) + " bytes for", path_);
  }
}

void File::truncate(int64_t bytes) {
  if (retry_interrupted([&] { return ::ftruncate(fd_, bytes); }) != 0) {
    throw IoError::from_errno("truncate", path_);
  }
}

void File::sync() {
  if (retry_interrupted([&] { return ::fsync(fd_); }) != 0) throw IoError::from_errno("fsync", path_);
}

std::string read_file(const std::string& path, int64_t max_bytes) {
  const File file(path, O_RDONLY);
  const int64_t size = file.size();
  if (size > max_bytes)
    throw SizeError(path + ": wanted at most " + std::to_string(max_bytes) + " bytes, got " +
                    std::to_string(size) + "; it is not what its name says");
  std::string text(size_t(size), '\0');
  file.pread_all(std::as_writable_bytes(std::span(text)), 0);
  return text;
}

void atomic_write_file(const std::string& path, std::string_view bytes) {
  const std::string temp = path + std::string(kTempMark) + std::to_string(::getpid());
  try {
    ::unlink(temp.c_str());  // left by a killed process with the same id, or created by someone else
    File file(temp, O_WRONLY | O_CREAT | O_EXCL);
    file.write_all(bytes_of(bytes));
    file.sync();
    rename_path(temp, path);
  } catch (...) {
    ::unlink(temp.c_str());
    throw;
  }
  fsync_dir(parent_of(path));
}

void remove_abandoned_writes(const std::string& dir) {
  for (const std::string& name : list_dir(dir)) {
    const size_t mark = name.rfind(kTempMark);
    if (mark == name.npos || mark + kTempMark.size() == name.size()) continue;
    if (name.find_first_not_of("0123456789", mark + kTempMark.size()) == name.npos)
      ::unlink((dir + "/" + name).c_str());
  }
}

void fsync_dir(const std::string& path) {
  const File dir(path, O_RDONLY | O_DIRECTORY);
  const int result = retry_interrupted([&] { return ::fsync(dir.fd()); });
  // EINVAL: the file system cannot sync folders (some network ones); nothing more can be done.
  if (result != 0 && errno != EINVAL) throw IoError::from_errno("fsync", path);
}

bool path_exists(const std::string& path) {
  std::error_code code;
  const bool exists = fs::exists(path, code);
  if (code) fail("stat", path, code);
  return exists;
}

void make_dirs(const std::string& path) {
  if (path_exists(path)) return;
  const std::string parent = parent_of(path);
  if (parent != path) make_dirs(parent);
  if (::mkdir(path.c_str(), 0777) != 0 && errno != EEXIST) throw IoError::from_errno("create folder", path);
  fsync_dir(parent);
}

void rename_path(const std::string& from, const std::string& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0) throw IoError::from_errno("rename " + from + " to", to);
}

void remove_tree(const std::string& path) {
  std::error_code code;
  fs::remove_all(path, code);
  if (code) fail("remove", path, code);
}

std::vector<std::string> list_dir(const std::string& path) {
  std::vector<std::string> names;
  if (!path_exists(path)) return names;
  std::error_code code;
  for (fs::directory_iterator it(path, code), end; !code && it != end; it.increment(code)) {
    names.push_back(it->path().filename().string());
  }
  if (code) fail("list", path, code);
  std::sort(names.begin(), names.end());
  return names;
}

TempDir::TempDir(std::string path) : path_(std::move(path)) {
  remove_tree(path_);
  make_dirs(path_);
}

TempDir::~TempDir() {
  std::error_code ignored;  // another error is already being thrown
  if (!kept_) fs::remove_all(path_, ignored);
}

}  // namespace saslm
