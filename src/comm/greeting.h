// The wire format of connection set-up between ranks (comm/meeting.h). All ranks use one build, so numbers
// are in native byte order. Magic and version come first in every version, so ranks of different builds
// recognise each other.
//
//   who connects             who listens
//   Greeting           ->
//                      <-    Challenge
//   Proof              ->                      that it knows the run's secret: of Said, as kConnects
//                      <-    Answer            and that the listener does: of Said, as kListens
//
// Rank 0 sends further Answers when all are there, or when it fails.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "comm/secret.h"

namespace saslm {

constexpr uint64_t kMagic = 0x6d73'6c73'6173'8a01;
constexpr uint32_t kVersion = 3;

enum Channel : uint32_t { kControl, kData };

struct Greeting {  // from `rank` to `to`
  uint64_t magic = kMagic;
  uint32_t version = kVersion, size = 0, rank = 0, to = 0, channel = 0, port = 0;
  Nonce nonce = {};
};

struct Challenge {
  uint64_t magic = kMagic;
  uint32_t version = kVersion, unused = 0;
  Nonce nonce = {};
};

enum Verdict : uint32_t {
  kWelcome,      // accepted; wait for the others
  kComplete,     // all ranks are there; places follow
  kFailed,       // the run ends; rank 0 prints why
  kStopped,      // the run ends because of a signal
  kOtherSize,    // refused: `size` ranks are wanted
  kTaken,        // refused: another process has this rank number
  kOtherSecret,  // refused: it has a different secret
};

struct Answer {
  uint64_t magic = kMagic;
  uint32_t version = kVersion, verdict = 0, size = 0, unused = 0;
  Proof proof = {};  // in the first Answer; none with kOtherSecret
};

struct ListenAddress {  // where a rank listens
  char host[60] = {};   // numeric address; empty: on rank 0's machine
  uint32_t port = 0;
};

// The data that a proof covers: all messages so far, and the side that proves.
enum Side : uint32_t { kConnects = 1, kListens };
struct Said {
  Greeting greeting;
  Nonce challenge = {};
  uint32_t side = 0, verdict = 0, size = 0, unused = 0;
};

static_assert(sizeof(Greeting) == 64 && sizeof(Challenge) == 48 && sizeof(Answer) == 56 &&
                  sizeof(ListenAddress) == 64 && sizeof(Said) == 112,
              "no padding is sent, or hashed");

template <class T>
std::span<std::byte> bytes_in(T& value) {
  return std::as_writable_bytes(std::span(&value, 1));
}
template <class T>
std::span<const std::byte> bytes_in(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

}  // namespace saslm
