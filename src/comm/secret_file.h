// The ranks' secret in a file of the run's directory, which all machines share: where no variable gives one
// (comm/secret.h). Nobody but the owner may read it, and it is there for as long as the ranks meet.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "comm/secret.h"

namespace saslm {

// Rank 0's part: drawn and written, over one that a killed run left; and taken away again, with the folders
// that had to be made for it and are empty.
class SecretFile {
 public:
  // ConfigError where it cannot be written, with the variable to set instead.
  explicit SecretFile(const std::string& dir);
  ~SecretFile();
  SecretFile(const SecretFile&) = delete;
  SecretFile& operator=(const SecretFile&) = delete;

  const SecretKey& key() const { return key_; }

 private:
  void remove_folders();

  std::string path_;
  std::vector<std::string> made_;  // folders, the outermost first
  SecretKey key_;
};

std::string secret_path(const std::string& dir);

// The others' part. None while there is none. ConfigError where others than the owner may read it, or it is
// not this user's.
std::optional<SecretKey> read_secret(const std::string& dir);

}  // namespace saslm
