// Non-blocking TCP connections for ranks, IPv4 or IPv6, whichever a name resolves to.
#pragma once
#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>

namespace saslm {

using Clock = std::chrono::steady_clock;
using Deadline = Clock::time_point;

// Owns a descriptor.
class Socket {
 public:
  Socket() = default;
  explicit Socket(int fd) : fd_(fd) {}
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Socket() { close(); }

  int fd() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  void close();

 private:
  int fd_ = -1;
};

struct Endpoint {
  std::string host;  // a name or a number
  int port = 0;
  std::string text() const { return host + ":" + std::to_string(port); }
};

// Whether this is a loopback address or name.
bool is_loopback(const std::string& host);

// Listens at a port (0: a free one): only on loopback if the host is loopback; otherwise on all addresses of
// the family that the host name resolves to, since a machine's own name may resolve to an address that others
// cannot reach. ConfigError if the port is taken or the name does not resolve.
Socket listen_at(const Endpoint& at);
// Takes over a listening descriptor of the parent process. ConfigError if it is not one.
Socket inherited_listener(int fd);
// Accepts the next waiting connection; empty if there is none.
Socket accept_from(const Socket& listener);

// Called several times per second while a call waits; throwing ends the wait.
using Meanwhile = std::function<void()>;

// One attempt; empty if nothing answers in time. ConfigError if the name does not resolve.
Socket connect_to(const Endpoint& to, Deadline, const Meanwhile& meanwhile = {});

// Numbers.
Endpoint own_end(const Socket&);
Endpoint other_end(const Socket&);

// Sends or receives what is possible without blocking. Returns the number of bytes; nullopt if the other side
// is gone.
std::optional<size_t> send_some(const Socket&, std::span<const std::byte>);
std::optional<size_t> receive_some(const Socket&, std::span<std::byte>);

// Sends or receives everything before a deadline; false if the other side is gone or the time is up.
bool send_all(const Socket&, std::span<const std::byte>, Deadline);
bool receive_all(const Socket&, std::span<std::byte>, Deadline, const Meanwhile& meanwhile = {});

// Milliseconds for poll: until the deadline, but at most `most`.
int poll_ms(Deadline, int most);

}  // namespace saslm
