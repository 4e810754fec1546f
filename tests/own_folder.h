// A folder that no other test and no other process has, for as long as this lives: tests run side by side.
#pragma once
#include <stdlib.h>

#include <filesystem>
#include <string>

namespace saslm::test {

class OwnFolder {
 public:
  OwnFolder() {
    std::string pattern = std::filesystem::temp_directory_path() / "saslm_XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr)
      throw std::filesystem::filesystem_error("mkdtemp " + pattern,
                                              std::error_code(errno, std::generic_category()));
    path_ = pattern;
  }
  ~OwnFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  OwnFolder(const OwnFolder&) = delete;
  OwnFolder& operator=(const OwnFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

}  // namespace saslm::test
