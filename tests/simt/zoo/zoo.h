// The bug zoo: kernels with one planted bug each, and what each build must say of it.
#pragma once
#include <iosfwd>
#include <vector>

#include "kernels/simt/simt.h"

namespace saslm::simt::zoo {

inline constexpr int kFloats =
    256;  // of the one buffer that every kernel gets: 0, 1, 2 ..., aligned to 16 bytes

struct Bug {
  const char* name;
  void (*kernel)(float*);
  int blocks, threads;
  size_t shared_bytes;
  // A part of the report in the plain, the sanitized and the race build; null where that build need not see
  // it.
  const char *plain, *asan, *race;
};

// What a build says when no rule was broken but the result is not one.
inline constexpr const char* kDepends = "the result depends on the schedule";
inline constexpr const char* kNan = "NaN in the result";

void PrintTo(const Bug&, std::ostream*);  // for GoogleTest

std::vector<Bug> barrier_bugs();
std::vector<Bug> warp_bugs();
std::vector<Bug> memory_bugs();
std::vector<Bug> copy_bugs();
std::vector<Bug> sm90_bugs();
std::vector<Bug> sound_kernels();  // no build may say anything: the three texts are null
std::vector<Bug> sound_sm90_kernels();

}  // namespace saslm::simt::zoo
