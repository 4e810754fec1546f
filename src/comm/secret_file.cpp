#include "comm/secret_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>

#include "core/error.h"
#include "core/file.h"

namespace saslm {
namespace {

namespace fs = std::filesystem;

constexpr const char* kName = ".ranks_secret";

[[noreturn]] void refuse(const std::string& what) {
  throw ConfigError("the ranks of this run need a common secret: " + what + "; or give all ranks the same " +
                    kSecretVariable + ", of " + std::to_string(kShortestSecret) + " characters or more");
}

// The path's folders that do not exist, outermost first.
std::vector<std::string> missing_folders(fs::path path) {
  std::vector<std::string> missing;
  for (; !path.empty() && !path_exists(path); path = path.parent_path())
    missing.insert(missing.begin(), path.string());
  return missing;
}

}  // namespace

std::string secret_path(const std::string& dir) {
  return dir + "/" + kName;
}

SecretFile::SecretFile(const std::string& dir) : path_(secret_path(dir)) {
  const std::string text = draw_secret(), beside = path_ + ".new";
  key_ = *secret_of(text);
  for (const std::string& folder : missing_folders(fs::absolute(dir).lexically_normal()))
    if (::mkdir(folder.c_str(), 0777) == 0) made_.push_back(folder);
  ::unlink(beside.c_str());  // left by a killed run
  try {
    File file(beside, O_WRONLY | O_CREAT | O_EXCL, 0600);
    file.write_all(bytes_of(text + "\n"));
    file.sync();
    fs::rename(beside, path_);
  } catch (const std::exception& error) {
    ::unlink(beside.c_str());
    remove_folders();
    refuse(std::string(error.what()) + "; choose a --run-dir that can be written");
  }
}

void SecretFile::remove_folders() {
  for (; !made_.empty(); made_.pop_back()) ::rmdir(made_.back().c_str());  // fails if the folder is not empty
}

SecretFile::~SecretFile() {
  ::unlink(path_.c_str());
  remove_folders();
}

std::optional<SecretKey> read_secret(const std::string& dir) {
  const std::string path = secret_path(dir);
  if (!path_exists(path)) return std::nullopt;
  try {
    const File file(path, O_RDONLY | O_NOFOLLOW);
    struct stat status = {};
    if (::fstat(file.fd(), &status) != 0 || status.st_uid != ::geteuid() || (status.st_mode & 077) != 0)
      refuse(path + " may be read by others than this user; remove it, and start all ranks as one user");
    std::array<char, 256> text;
    const int64_t size = file.read_some(std::as_writable_bytes(std::span(text)));
    const std::string_view read(text.data(), size_t(size));
    return secret_of(read.substr(0, read.find('\n')));
  } catch (const IoError& error) {
    if (!path_exists(path)) return std::nullopt;  // rank 0 has just removed it
    refuse(error.what());
  }
}

}  // namespace saslm
