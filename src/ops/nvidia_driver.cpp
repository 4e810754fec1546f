#include "ops/nvidia_driver.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace saslm {
namespace {

namespace fs = std::filesystem;

bool has_entry(const fs::path& folder, const std::string& beginning) {
  std::error_code none;
  for (fs::directory_iterator at(folder, none), end; !none && at != end; at.increment(none)) {
    const std::string name = at->path().filename();
    if (name.starts_with(beginning) && name.size() > beginning.size() &&
        name.find_first_not_of("0123456789", beginning.size()) == std::string::npos)
      return true;
  }
  return false;
}

// "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22 ...": the first word of digits and
// dots.
std::string version_in(const std::string& line) {
  std::istringstream words(line);
  for (std::string word; words >> word;)
    if (word.find('.') != std::string::npos && word.find_first_not_of("0123456789.") == std::string::npos)
      return word;
  return "";
}

}  // namespace

NvidiaDriver nvidia_driver(const std::string& root) {
  NvidiaDriver driver;
  std::string line;
  if (std::ifstream file(fs::path(root) / "proc/driver/nvidia/version"); std::getline(file, line))
    driver.version = version_in(line);
  std::error_code none;
  driver.gpu_present =
      has_entry(fs::path(root) / "dev", "nvidia") ||  // nvidia0, ...; nvidiactl is there without a GPU, too
      (fs::exists(fs::path(root) / "dev/dxg", none) &&
       fs::exists(fs::path(root) / "usr/lib/wsl/lib/libcuda.so.1", none));  // Windows's Linux
  return driver;
}

int oldest_driver_for(int cuda_major) {
  switch (cuda_major) {  // NVIDIA, CUDA Compatibility: drivers of minor version compatibility
    case 12:
      return 525;
    case 13:
      return 580;
    default:
      return 0;
  }
}

bool gpus_are_hidden() {
  const char* const visible = std::getenv("CUDA_VISIBLE_DEVICES");
  return visible != nullptr && (*visible == '\0' || std::string(visible) == "-1");
}

}  // namespace saslm
