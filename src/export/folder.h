// Writes a new folder atomically: complete or not at all.
#pragma once
#include <functional>
#include <string>
#include <vector>

namespace saslm {

// The absolute path with links resolved and no trailing slash, as rename needs it.
std::string absolute_folder(const std::string& path);

// ConfigError unless `out` does not exist or is an empty folder.
void check_new_folder(const std::string& out);

// Calls `write` to fill a temporary folder beside `out` (absolute), fsyncs and renames it. Returns the file
// names, sorted.
std::vector<std::string> write_folder(const std::string& out,
                                      const std::function<void(const std::string&)>& write);

}  // namespace saslm
