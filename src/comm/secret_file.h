// The ranks' secret in a file in the shared run directory, used if no variable gives one (comm/secret.h).
// Only the owner may read it, and it exists only until the ranks have met.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "comm/secret.h"

namespace saslm {

// Rank 0's part: draws and writes a secret, replacing one that a killed run left; the destructor removes it,
// with the folders that were created for it if they are empty.
class SecretFile {
 public:
  // ConfigError if it cannot be written, with the variable to set instead.
  explicit SecretFile(const std::string& dir);
  ~SecretFile();
  SecretFile(const SecretFile&) = delete;
  SecretFile& operator=(const SecretFile&) = delete;

  const SecretKey& key() const { return key_; }

 private:
  void remove_folders();

  std::string path_;
  std::vector<std::string> made_;  // created folders, outermost first
  SecretKey key_;
};

std::string secret_path(const std::string& dir);

// The other ranks' part: reads the secret; nullopt while there is none. ConfigError if others may read the
// file, or it belongs to another user.
std::optional<SecretKey> read_secret(const std::string& dir);

}  // namespace saslm
