// POSIX files. EINTR and short counts are handled; every failure is an IoError with the call and the path.
//
// Only fsynced data survives a power cut: the bytes after File::sync, the name after fsync_dir of its folder.
// A failed fsync cannot be repeated (the kernel may have dropped the dirty pages and report success next
// time): write the bytes again, to a new file.
//
// A path may point to something unexpected. Only regular files are opened, since opening a FIFO could hang. A
// file opened for writing is never reached through a symbolic link (its folders may be links). Anything else
// is a WrongKindError, which the user must fix.
#pragma once
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"

namespace saslm {

struct WrongKindError : UserError {  // a folder, pipe, device or link where a file belongs
  using UserError::UserError;
};
struct SizeError : UserError {  // a file far larger than what it should be
  using UserError::UserError;
};

class File {
 public:
  File() = default;
  // open(2) with these flags and O_CLOEXEC; `mode` applies if the file is created.
  File(std::string path, int flags, unsigned mode = 0666);
  // Opens anything that can be read from start to end, for paths given by the user; a pipe waits for its
  // writer.
  static File stream(std::string path);
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  ~File();

  const std::string& path() const { return path_; }
  int fd() const { return fd_; }
  int64_t size() const;                            // bytes
  std::pair<uint64_t, uint64_t> identity() const;  // (device, inode): equal for two paths to one file
  int64_t changed_ns() const;  // when it was last written to, by the system's clock (ctime)

  // Writes all of `bytes` at the file position (O_APPEND: at the end).
  void write_all(std::span<const std::byte> bytes);
  void pwrite_all(std::span<const std::byte> bytes, int64_t offset);
  // Reads from the file position, for streams. Fills `out` unless the file ends first; returns the number of
  // bytes read.
  int64_t read_some(std::span<std::byte> out) const;
  void seek(int64_t offset);  // where read_some and write_all continue
  // Fills all of `out` from byte `offset`; IoError if the file ends earlier.
  void pread_all(std::span<std::byte> out, int64_t offset) const;
  // Reserves bytes [0, bytes) on disk, so a full disk fails before the first write. Does nothing on file
  // systems that cannot reserve: emulation would write the file twice.
  void preallocate(int64_t bytes);
  void truncate(int64_t bytes);
  void sync();  // fsync(2)

 private:
  void open(int flags, unsigned mode);
  void require_regular() const;

  std::string path_;
  int fd_ = -1;
};

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

constexpr int64_t kMaxTextBytes = int64_t(256)
                                  << 20;  // far above any text that is read whole, but for metrics
constexpr int64_t kAnySize = std::numeric_limits<int64_t>::max();

// Reads the whole file; SizeError if it has more than max_bytes.
std::string read_file(const std::string& path, int64_t max_bytes = kMaxTextBytes);

// Replaces the file's content atomically: a reader always finds the complete old or new content.
void atomic_write_file(const std::string& path, std::string_view bytes);

// Deletes leftovers of killed atomic_write_file calls from a folder. No other process may be writing there.
void remove_abandoned_writes(const std::string& dir);

void fsync_dir(const std::string& path);
bool path_exists(const std::string& path);
void make_dirs(const std::string& path);  // with parents, each one durable; existing ones are fine
void rename_path(const std::string& from, const std::string& to);
void remove_tree(const std::string& path);                   // nothing there is fine
std::vector<std::string> list_dir(const std::string& path);  // names, sorted; an absent folder is empty

// A new, empty folder, which replaces anything of that name and is removed again unless kept.
class TempDir {
 public:
  explicit TempDir(std::string path);
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::string& path() const { return path_; }
  void keep() { kept_ = true; }

 private:
  std::string path_;
  bool kept_ = false;
};

}  // namespace saslm
