// A pool of files for reading, of which a limited number is open: a data set may have more files than a
// process may open.
#pragma once
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/file.h"

namespace saslm {

// An eighth of this process's limit of open files, 8 to 4096.
size_t open_files_wanted();

class OpenFiles {
 public:
  explicit OpenFiles(size_t at_most = open_files_wanted());

  // Adds an open file; returns its number.
  size_t add(File file);

  // Returns the file. If it was closed, it is reopened, and the least recently used file is closed.
  // Thread-safe. IoError if the path now leads to another file, or one of another size: it was changed in
  // use.
  std::shared_ptr<const File> open(size_t number);

 private:
  struct Entry {
    std::string path;
    std::pair<uint64_t, uint64_t> identity;
    int64_t size = 0;
    std::shared_ptr<const File> file;   // null while closed
    std::list<size_t>::iterator place;  // in used_, while it is open
  };

  void keep(size_t number, std::shared_ptr<const File> file);

  size_t at_most_;
  std::mutex mutex_;
  std::vector<Entry> entries_;
  std::list<size_t> used_;  // open files, most recently used first
};

// One file of a pool, which keeps the pool alive.
class PooledFile {
 public:
  PooledFile() = default;
  PooledFile(std::shared_ptr<OpenFiles> pool, File file);

  const std::string& path() const { return path_; }
  int64_t size() const { return size_; }  // when it was added
  std::pair<uint64_t, uint64_t> identity() const { return identity_; }
  int64_t changed_ns() const { return changed_ns_; }               // at opening: File's
  void pread_all(std::span<std::byte> out, int64_t offset) const;  // like File's

 private:
  std::shared_ptr<OpenFiles> pool_;
  size_t number_ = 0;
  std::string path_;
  int64_t size_ = 0, changed_ns_ = 0;
  std::pair<uint64_t, uint64_t> identity_;
};

}  // namespace saslm
