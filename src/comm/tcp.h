// TCP as ranks use it: connections that never block the caller, IPv4 or IPv6, whichever a name resolves to.
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

// Whether it is a number or the name of this very machine, seen from itself.
bool is_loopback(const std::string& host);

// Listens at a port (0: a free one): on this machine's loopback alone where the host is that, else at all its
// addresses of the family that the host's name resolves to, since its own name may resolve to an address that
// others cannot reach. ConfigError when the port is taken, or the name does not resolve.
Socket listen_at(const Endpoint& at);
// A descriptor that a parent process listens on. ConfigError when it is none.
Socket inherited_listener(int fd);
// The next connection that is waiting; none when there is none.
Socket accept_from(const Socket& listener);

// What is called several times a second while a call waits; by throwing it ends the wait.
using Meanwhile = std::function<void()>;

// One attempt; none when nobody answers in time. ConfigError when the name does not resolve.
Socket connect_to(const Endpoint& to, Deadline, const Meanwhile& meanwhile = {});

// Numbers.
Endpoint own_end(const Socket&);
Endpoint other_end(const Socket&);

// Sends or receives what is possible without waiting: how many bytes; none when the other side is gone.
std::optional<size_t> send_some(const Socket&, std::span<const std::byte>);
std::optional<size_t> receive_some(const Socket&, std::span<std::byte>);

// All of it, by a deadline: false when the other side is gone or the time is up.
bool send_all(const Socket&, std::span<const std::byte>, Deadline);
bool receive_all(const Socket&, std::span<std::byte>, Deadline, const Meanwhile& meanwhile = {});

// Milliseconds that poll may wait: until the deadline, but no longer than `most`.
int poll_ms(Deadline, int most);

}  // namespace saslm
