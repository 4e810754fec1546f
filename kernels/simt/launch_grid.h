// What both sides share: the constants, and what launch() takes as its grid: an extent in up to three
// directions, and who launches.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace saslm::simt {

inline constexpr int kWarp = 32;
inline constexpr unsigned kFullMask = 0xffffffffu;
inline constexpr size_t kMaxSharedBytes =
    227 * 1024;  // static and dynamic of one block on sm_90; 163 KiB on sm_80

// What a launcher may fit its launch to: device_limits(stream).
struct DeviceLimits {
  int processors;       // multiprocessors
  size_t shared_bytes;  // dynamic shared memory of one block
};

// Where a primitive was called. std::source_location would do, but clang++ 14 does not have it.
struct CallSite {
  const char* file = "";
  int line = 0;
  static constexpr CallSite here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }
};

struct LaunchGrid {
  int64_t x, y, z;
  const char* launcher;  // the function that calls launch(), as the kernel's name in reports
  CallSite at;

  LaunchGrid(int64_t nx, const char* function = __builtin_FUNCTION(), CallSite site = CallSite::here())
      : LaunchGrid(nx, 1, 1, function, site) {}
  LaunchGrid(int64_t nx, int64_t ny, int64_t nz = 1, const char* function = __builtin_FUNCTION(),
             CallSite site = CallSite::here())
      : x(nx), y(ny), z(nz), launcher(function), at(site) {}

  bool launchable() const { return x > 0 && y > 0 && z > 0 && x <= INT32_MAX && y <= 65535 && z <= 65535; }
  std::string text() const {
    return "(" + std::to_string(x) + ", " + std::to_string(y) + ", " + std::to_string(z) + ")";
  }
};

}  // namespace saslm::simt
