// Files as POSIX has them: EINTR and short counts are dealt with, every failure is an IoError naming call and
// path.
//
// What a power cut leaves behind is only what was fsynced: the bytes by File::sync, the name by fsync_dir
// of the folder that holds it. A failed fsync cannot be repeated (the kernel may have dropped the dirty pages
// and report success next time): write the bytes again, to a new file.
//
// A name may stand for something else than was put there. Only regular files are opened, so that a FIFO hangs
// nobody; what is opened for writing is never reached through a symbolic link of that name (folders on the
// way may be links). Anything else is a WrongKindError, which is for the user to mend.
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
  // open(2) with these flags and O_CLOEXEC; `mode` counts when the file is created.
  File(std::string path, int flags, unsigned mode = 0666);
  // What can be read from start to end, whatever it is: a pipe waits for its writer. For what the user names.
  static File stream(std::string path);
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  ~File();

  const std::string& path() const { return path_; }
  int fd() const { return fd_; }
  int64_t size() const;                            // bytes
  std::pair<uint64_t, uint64_t> identity() const;  // (device, inode): equal for two paths to one file
  int64_t changed_ns() const;  // when it was last written to, by the system's clock (ctime)

  // All of `bytes`, at the file's position (O_APPEND: at its end).
  void write_all(std::span<const std::byte> bytes);
  void pwrite_all(std::span<const std::byte> bytes, int64_t offset);
  // From the file's position, for streams: fills `out` unless the end comes first; returns how much there
  // was.
  int64_t read_some(std::span<std::byte> out) const;
  void seek(int64_t offset);  // where read_some and write_all go on
  // Fills all of `out` from byte `offset` on; a file that ends earlier is an IoError.
  void pread_all(std::span<std::byte> out, int64_t offset) const;
  // Reserves bytes [0, bytes) on the disk, so that a full disk shows before the first write. File systems
  // which cannot reserve are let pass: emulating it would write the file twice.
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

// The whole file; SizeError when it has more bytes than what it should be could have.
std::string read_file(const std::string& path, int64_t max_bytes = kMaxTextBytes);

// Replaces `path` by `bytes`: whatever happens, a reader finds the old content or the new, whole.
void atomic_write_file(const std::string& path, std::string_view bytes);

// Deletes what killed calls of it left in a folder. The caller knows that nobody alive is writing there.
void remove_abandoned_writes(const std::string& dir);

void fsync_dir(const std::string& path);
bool path_exists(const std::string& path);
void make_dirs(const std::string& path);  // with parents, each one durable; existing ones are fine
void rename_path(const std::string& from, const std::string& to);
void remove_tree(const std::string& path);                   // nothing there is fine
std::vector<std::string> list_dir(const std::string& path);  // names, sorted; an absent folder is empty

// A new, empty folder (what has that name already is removed), which goes away again unless it is kept.
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
