// Receives a Challenge or Answer (greeting.h) from the listener at `where`. False if the connection ends
// first or the time is up. ConfigError if the listener is not of this build, checked before the whole message
// is there, since others may send less and then wait.
#pragma once
#include <cstddef>
#include <string>

#include "comm/greeting.h"
#include "comm/tcp.h"
#include "core/error.h"

namespace saslm {

template <class Message>
bool hear(const Socket& socket, Message& message, const std::string& where, Deadline deadline,
          const Meanwhile& wait) {
  constexpr size_t kKnown = offsetof(Message, version) + sizeof message.version;
  if (!receive_all(socket, bytes_in(message).first(kKnown), deadline, wait)) return false;
  if (message.magic != kMagic || message.version != kVersion)
    throw ConfigError("the program at " + where +
                      " is not rank 0 of this build of saslm; choose another MASTER_PORT, or start all ranks "
                      "with one build");
  return receive_all(socket, bytes_in(message).subspan(kKnown), deadline, wait);
}

}  // namespace saslm
