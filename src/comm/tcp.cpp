#include "comm/tcp.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>

#include "core/error.h"

namespace saslm {
namespace {

constexpr int kBacklog = 4096;
constexpr std::string_view kMapped = "::ffff:";  // prefix of an IPv4 address in an IPv6 socket

using Addresses = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

// Empty if the name service does not answer now.
Addresses resolve(const Endpoint& endpoint) {
  addrinfo wanted = {};
  wanted.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error =
      getaddrinfo(endpoint.host.c_str(), std::to_string(endpoint.port).c_str(), &wanted, &found);
  if (error != 0 && error != EAI_AGAIN)
    throw ConfigError("the ranks' meeting point " + endpoint.text() + " (MASTER_ADDR): " + endpoint.host +
                      " does not resolve to an address: " + gai_strerror(error));
  return {error == 0 ? found : nullptr, freeaddrinfo};
}

void set(int fd, int level, int option, int value) {
  setsockopt(fd, level, option, &value, sizeof value);  // a refused option only costs speed
}

// Options of every connection: no delay, and keep-alive to detect lost machines.
Socket prepared(Socket socket) {
  set(socket.fd(), IPPROTO_TCP, TCP_NODELAY, 1);
  set(socket.fd(), SOL_SOCKET, SO_KEEPALIVE, 1);
  set(socket.fd(), IPPROTO_TCP, TCP_KEEPIDLE, 60);
  set(socket.fd(), IPPROTO_TCP, TCP_KEEPINTVL, 20);
  return socket;
}

Endpoint endpoint_of(const Socket& socket, int (*name)(int, sockaddr*, socklen_t*)) {
  sockaddr_storage address = {};
  socklen_t length = sizeof address;
  std::array<char, NI_MAXHOST> host;
  std::array<char, NI_MAXSERV> port;
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  if (name(socket.fd(), any, &length) != 0 || getnameinfo(any, length, host.data(), host.size(), port.data(),
                                                          port.size(), NI_NUMERICHOST | NI_NUMERICSERV) != 0)
    return {};  // the other side is gone already
  std::string_view number = host.data();
  if (number.starts_with(kMapped)) number.remove_prefix(kMapped.size());
  return {std::string(number), std::atoi(port.data())};
}

bool would_wait() {
  return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

// Until the descriptor is ready; false at the deadline.
bool ready(const Socket& socket, short event, Deadline deadline, const Meanwhile& meanwhile) {
  for (pollfd one = {socket.fd(), event, 0};;) {
    if (meanwhile) meanwhile();
    if (poll(&one, 1, poll_ms(deadline, 100)) > 0) return true;
    if (Clock::now() > deadline) return false;
  }
}

template <class Some, class Bytes>
bool all(Some some, short event, const Socket& socket, Bytes bytes, Deadline deadline,
         const Meanwhile& meanwhile) {
  for (;;) {
    const std::optional<size_t> count = some(socket, bytes);
    if (!count) return false;
    bytes = bytes.subspan(*count);
    if (bytes.empty()) return true;
    if (!ready(socket, event, deadline, meanwhile)) return false;
  }
}

}  // namespace

void Socket::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

int poll_ms(Deadline deadline, int most) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return int(std::clamp<int64_t>(left, 0, most));
}

bool is_loopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

Socket listen_at(const Endpoint& at) {
  const Addresses named = resolve(at);
  if (!named) throw ConfigError("the name service does not resolve " + at.host + " (MASTER_ADDR)");
  sockaddr_storage address = {};
  std::memcpy(&address, named->ai_addr, named->ai_addrlen);
  if (!is_loopback(at.host)) {  // at all addresses
    if (named->ai_family == AF_INET6)
      reinterpret_cast<sockaddr_in6&>(address).sin6_addr = in6addr_any;
    else
      reinterpret_cast<sockaddr_in&>(address).sin_addr.s_addr = INADDR_ANY;
  }
  Socket listener(socket(named->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  set(listener.fd(), SOL_SOCKET, SO_REUSEADDR, 1);  // ignore connections of a run that has just ended
  if (!listener || bind(listener.fd(), reinterpret_cast<sockaddr*>(&address), named->ai_addrlen) != 0 ||
      listen(listener.fd(), kBacklog) != 0) {
    const int error = errno;
    throw ConfigError(
        "cannot listen at port " + std::to_string(at.port) + " for the other ranks: " + std::strerror(error) +
        (error == EADDRINUSE ? "; another run or program has it: choose another MASTER_PORT" : ""));
  }
  return listener;
}

Socket inherited_listener(int fd) {
  int listens = 0;
  socklen_t length = sizeof listens;
  if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) != 0 || !listens)
    throw ConfigError("SASLM_LISTENER is " + std::to_string(fd) +
                      ", but nothing listens there: only `saslm train --ranks` sets it; unset it");
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  return Socket(fd);
}

Socket accept_from(const Socket& listener) {
  Socket socket(accept4(listener.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  return socket ? prepared(std::move(socket)) : Socket();
}

Socket connect_to(const Endpoint& to, Deadline deadline, const Meanwhile& meanwhile) {
  const Addresses named = resolve(to);
  for (const addrinfo* one = named.get(); one != nullptr; one = one->ai_next) {
    Socket out(socket(one->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!out) continue;
    if (connect(out.fd(), one->ai_addr, one->ai_addrlen) != 0) {
      if (errno != EINPROGRESS) continue;
      const Deadline patience = std::min(deadline, Clock::now() + std::chrono::seconds(5));
      int error = 0;
      socklen_t length = sizeof error;
      if (!ready(out, POLLOUT, patience, meanwhile) ||
          getsockopt(out.fd(), SOL_SOCKET, SO_ERROR, &error, &length) != 0 || error != 0)
        continue;
    }
    // A socket can connect to itself if nothing listens at the port.
    if (own_end(out).text() != other_end(out).text()) return prepared(std::move(out));
  }
  return {};
}

Endpoint own_end(const Socket& socket) {
  return endpoint_of(socket, getsockname);
}
Endpoint other_end(const Socket& socket) {
  return endpoint_of(socket, getpeername);
}

std::optional<size_t> send_some(const Socket& socket, std::span<const std::byte> bytes) {
  if (bytes.empty()) return 0;
  const ssize_t count = send(socket.fd(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (count >= 0) return size_t(count);
  return would_wait() ? std::optional<size_t>(0) : std::nullopt;
}

std::optional<size_t> receive_some(const Socket& socket, std::span<std::byte> bytes) {
  if (bytes.empty()) return 0;
  const ssize_t count = recv(socket.fd(), bytes.data(), bytes.size(), MSG_DONTWAIT);
  if (count > 0) return size_t(count);
  return count < 0 && would_wait() ? std::optional<size_t>(0) : std::nullopt;
}

bool send_all(const Socket& socket, std::span<const std::byte> bytes, Deadline deadline) {
  return all(send_some, POLLOUT, socket, bytes, deadline, {});
}
bool receive_all(const Socket& socket, std::span<std::byte> bytes, Deadline deadline,
                 const Meanwhile& meanwhile) {
  return all(receive_some, POLLIN, socket, bytes, deadline, meanwhile);
}

}  // namespace saslm
