#include "data/open_files.h"

#include <fcntl.h>
#include <sys/resource.h>

#include <algorithm>

#include "core/error.h"

namespace saslm {

size_t open_files_wanted() {
  rlimit limit = {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) limit.rlim_cur = 256;
  return size_t(std::clamp<rlim_t>(limit.rlim_cur / 8, 8, 4096));
}

OpenFiles::OpenFiles(size_t at_most) : at_most_(at_most) {
  check(at_most > 0, "a file that is read is open");
}

size_t OpenFiles::add(File file) {
  const std::lock_guard lock(mutex_);
  const size_t number = entries_.size();
  entries_.push_back({file.path(), file.identity(), file.size(), nullptr, {}});
  keep(number, std::make_shared<const File>(std::move(file)));
  return number;
}

std::shared_ptr<const File> OpenFiles::open(size_t number) {
  const std::lock_guard lock(mutex_);
  Entry& entry = entries_[number];
  if (entry.file) {
    used_.splice(used_.begin(), used_, entry.place);
    return entry.file;
  }
  File file(entry.path, O_RDONLY | O_NONBLOCK);
  if (file.identity() != entry.identity || file.size() != entry.size)
    throw IoError(entry.path + ": the file was replaced while in use");
  keep(number, std::make_shared<const File>(std::move(file)));
  return entries_[number].file;
}

void OpenFiles::keep(size_t number, std::shared_ptr<const File> file) {
  if (used_.size() >= at_most_) {
    entries_[used_.back()].file.reset();  // readers keep it alive
    used_.pop_back();
  }
  used_.push_front(number);
  entries_[number].file = std::move(file);
  entries_[number].place = used_.begin();
}

PooledFile::PooledFile(std::shared_ptr<OpenFiles> pool, File file)
    : pool_(std::move(pool)),
      path_(file.path()),
      size_(file.size()),
      changed_ns_(file.changed_ns()),
      identity_(file.identity()) {
  number_ = pool_->add(std::move(file));
}

void PooledFile::pread_all(std::span<std::byte> out, int64_t offset) const {
  pool_->open(number_)->pread_all(out, offset);
}

}  // namespace saslm
