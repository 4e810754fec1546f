#include "data/find_inputs.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>

#include "core/error.h"
#include "core/glob_pattern.h"
#include "data/byte_source.h"

namespace saslm {

namespace {

namespace fs = std::filesystem;

constexpr const char* kNamedText =
    ".txt, .jsonl or .ndjson, also with .gz, .zst or .xz after it, or .parquet";

// Includes parquet in every build, so that a build without Arrow fails instead of making other shards.
bool is_named_text(std::string name) {
  if (name.ends_with(".parquet")) return true;
  for (const std::string ending : {".gz", ".zst", ".zstd", ".xz"})
    if (name.ends_with(ending)) {
      name.resize(name.size() - ending.size());
      break;
    }
  return name.ends_with(".txt") || name.ends_with(".jsonl") || name.ends_with(".ndjson");
}

struct Folder {
  std::vector<std::string> text, other;  // paths, sorted
};

Folder look_through(const std::string& path) {
  Folder found;
  std::error_code failed;
  fs::recursive_directory_iterator it(path, failed);
  for (; !failed && it != fs::recursive_directory_iterator(); it.increment(failed)) {
    const std::string name = it->path().filename().string();
    if (name.starts_with('.')) {
      it.disable_recursion_pending();
    } else if (it->is_directory(failed) && !it->is_symlink(failed)) {
      continue;
    } else if (is_named_text(name) && !it->is_directory(failed)) {
      found.text.push_back(it->path().string());
    } else {
      found.other.push_back(it->path().string());
    }
  }
  if (failed) throw DataError(path + ": this folder cannot be read: " + failed.message());
  std::sort(found.text.begin(), found.text.end());
  std::sort(found.other.begin(), found.other.end());
  return found;
}

std::string files(size_t n) {
  return std::to_string(n) + (n == 1 ? " file" : " files");
}

std::string left_out(const std::vector<std::string>& other) {
  return files(other.size()) + " not named " + kNamedText + " (" + other.front() +
         (other.size() > 1 ? ", ...)" : ")");
}

std::vector<std::string> files_below(const std::string& path,
                                     const std::function<void(const std::string&)>& note) {
  const Folder found = look_through(path);
  if (found.text.empty())
    throw DataError(path + ": is a folder without text files; wanted files named " + kNamedText +
                    "; it has " + (found.other.empty() ? "no files" : left_out(found.other)) +
                    "; give other files by name or by a pattern");
  std::string said = path + ": " + files(found.text.size()) + ", " + found.text.front();
  if (found.text.size() > 1) said += " to " + found.text.back();
  if (!found.other.empty()) said += "; left out: " + left_out(found.other);
  if (note) note(said);
  return found.text;
}

// Device and inode; nullopt if the file does not exist, which opening it will report.
std::optional<std::pair<uint64_t, uint64_t>> identity_of(const std::string& path) {
  struct stat status = {};
  const int result = path == kStandardInput ? ::fstat(STDIN_FILENO, &status) : ::stat(path.c_str(), &status);
  if (result != 0 || S_ISCHR(status.st_mode)) return std::nullopt;
  return std::pair<uint64_t, uint64_t>(status.st_dev, status.st_ino);
}

}  // namespace

std::vector<std::string> find_inputs(const std::vector<std::string>& named,
                                     const std::function<void(const std::string&)>& note) {
  std::vector<std::string> inputs;
  for (const std::string& name : named) {
    std::vector<std::string> paths = {name};
    if (name != kStandardInput) paths = paths_matching(name);
    if (paths.empty() && is_pattern(name)) throw DataError("no file matches the input pattern " + name);
    if (paths.empty()) paths = {name};  // opening it will report the problem
    for (const std::string& path : paths) {
      std::error_code unknown;
      if (path == kStandardInput || !fs::is_directory(path, unknown)) {
        inputs.push_back(path);
        continue;
      }
      const std::vector<std::string> below = files_below(path, note);
      inputs.insert(inputs.end(), below.begin(), below.end());
    }
  }
  if (inputs.empty()) throw DataError("no input: give at least one text file");
  std::map<std::pair<uint64_t, uint64_t>, std::string> seen;
  for (const std::string& path : inputs) {
    const auto identity = identity_of(path);
    if (path == kStandardInput && std::count(inputs.begin(), inputs.end(), path) > 1)
      throw DataError("standard input (-) is given twice; give it once");
    if (!identity) continue;
    const auto [first, is_new] = seen.insert({*identity, path});
    if (!is_new)
      throw DataError(shown(path) + ": the same file as " + shown(first->second) +
                      ", given twice; its text would count twice: give it once");
  }
  return inputs;
}

}  // namespace saslm
