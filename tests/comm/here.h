#pragma once

// What tests of ranks on this machine share.
#include <gtest/gtest.h>

#include <string>

#include "comm/tcp.h"

namespace saslm::test {

inline constexpr const char* kHere = "127.0.0.1";

// A port that was free a moment ago.
inline int free_port() {
  return own_end(listen_at({kHere, 0})).port;
}

inline testing::AssertionResult holds(const std::string& text, const std::string& phrase) {
  return text.find(phrase) != std::string::npos ? testing::AssertionSuccess()
                                                : testing::AssertionFailure() << '"' << text << '"';
}

}  // namespace saslm::test
