// A folder that no other test and no other process has, for as long as this lives: tests run side by side.
#pragma once
#include <stdlib.h>

#include <filesystem>
#include <string>
#include <system_error>

namespace saslm::test {

class OwnFolder {
 public:
  explicit OwnFolder(const std::filesystem::path& parent = std::filesystem::temp_directory_path())
      : path_(std::filesystem::canonical(parent) / "saslm_XXXXXX") {
    if (::mkdtemp(path_.data()) == nullptr)
      throw std::system_error(errno, std::generic_category(), "mkdtemp " + path_);
  }
  ~OwnFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  OwnFolder(const OwnFolder&) = delete;
  OwnFolder& operator=(const OwnFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace saslm::test
