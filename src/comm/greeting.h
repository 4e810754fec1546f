// What ranks say to each other when they connect (comm/meeting.h), byte for byte. Ranks are of one build, so
// numbers are as the machine has them. Magic and version come first in every version: a rank of another build
// is known as such, and knows.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "comm/run_token.h"

namespace saslm {

constexpr uint64_t kMagic = 0x6d73'6c73'6173'8a01;
constexpr uint32_t kVersion = 2;

enum Channel : uint32_t { kControl, kData };

struct Greeting {  // by whoever connects
  uint64_t magic = kMagic;
  uint32_t version = kVersion, size = 0, rank = 0, channel = 0, port = 0, unused = 0;
  RunToken token = {};  // the run's; between ranks of which rank 0 has heard, what it drew for them
};

enum Verdict : uint32_t {
  kWelcome,     // heard; wait for the others
  kComplete,    // all are there; places follow
  kFailed,      // the run ends, and rank 0 says why
  kStopped,     // the run ends, because a signal asked for it
  kOtherSize,   // let go: `size` ranks are wanted
  kTaken,       // let go: another process has come as this rank
  kOtherToken,  // let go: no token is wanted
};

struct Answer {  // by rank 0
  uint64_t magic = kMagic;
  uint32_t version = kVersion, verdict = 0, size = 0, unused = 0;
  RunToken token = {};  // with kComplete: what ranks greet each other with
};

struct Place {         // where a rank listens
  char host[60] = {};  // a number; empty: on rank 0's machine
  uint32_t port = 0;
};

static_assert(sizeof(Greeting) == 48 && sizeof(Answer) == 40 && sizeof(Place) == 64, "no padding is sent");

template <class T>
std::span<std::byte> bytes_in(T& value) {
  return std::as_writable_bytes(std::span(&value, 1));
}

}  // namespace saslm
