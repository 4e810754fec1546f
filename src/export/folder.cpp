#include "export/folder.h"

#include <unistd.h>

#include <filesystem>

#include "core/error.h"
#include "core/file.h"

namespace saslm {

namespace fs = std::filesystem;

std::string absolute_folder(const std::string& path) {
  std::error_code unknown;
  const fs::path whole = fs::weakly_canonical(fs::absolute(path), unknown);
  if (unknown) throw ConfigError(path + ": cannot create this folder: " + unknown.message());
  return (whole.has_filename() ? whole : whole.parent_path()).string();
}

void check_new_folder(const std::string& out) {
  if (!path_exists(out)) return;
  if (!fs::is_directory(out)) throw ConfigError(out + ": wanted a folder to write to, got a file");
  if (!list_dir(out).empty())
    throw ConfigError(out +
                      ": wanted a folder that does not exist yet or is empty, got one with files in it; "
                      "choose another, or remove it");
}

std::vector<std::string> write_folder(const std::string& out,
                                      const std::function<void(const std::string&)>& write) {
  TempDir temp(out + ".tmp_" + std::to_string(::getpid()));
  write(temp.path());
  fsync_dir(temp.path());
  std::vector<std::string> files = list_dir(temp.path());
  rename_path(temp.path(), out);  // also over an empty folder
  temp.keep();
  fsync_dir(fs::path(out).parent_path().string());
  return files;
}

}  // namespace saslm
