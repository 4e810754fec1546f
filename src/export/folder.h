// A new folder that is there whole or not at all.
#pragma once
#include <functional>
#include <string>
#include <vector>

namespace saslm {

// Links followed, nothing after the last name: what a rename can put in place.
std::string absolute_folder(const std::string& path);

// ConfigError unless nothing is at `out`, or an empty folder.
void check_new_folder(const std::string& out);

// Lets `write` fill a folder of a temporary name beside `out` (absolute), fsyncs and renames it. The names of
// the files, sorted.
std::vector<std::string> write_folder(const std::string& out,
                                      const std::function<void(const std::string&)>& write);

}  // namespace saslm
