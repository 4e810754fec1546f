#include "comm/run_token.h"

#include <sys/random.h>

#include <charconv>

#include "core/error.h"

namespace saslm {

RunToken draw_token() {
  RunToken token;
  if (getrandom(token.data(), token.size(), 0) != ssize_t(token.size()))
    throw MachineError("getrandom gave no random numbers for the ranks' common token");
  return token;
}

std::string text_of(const RunToken& token) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const std::byte b : token) {
    text += kDigits[size_t(b) >> 4];
    text += kDigits[size_t(b) & 15];
  }
  return text;
}

std::optional<RunToken> token_of(std::string_view text) {
  RunToken token;
  if (text.size() != 2 * token.size()) return std::nullopt;
  for (std::byte& b : token) {
    uint8_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + 2, value, 16);
    if (error != std::errc() || end != text.data() + 2) return std::nullopt;
    b = std::byte(value);
    text.remove_prefix(2);
  }
  return token;
}

bool equal(const RunToken& a, const RunToken& b) {
  volatile uint8_t difference = 0;  // volatile: the loop is not left early
  for (size_t i = 0; i < a.size(); ++i) difference = uint8_t(difference | uint8_t(a[i] ^ b[i]));
  return difference == 0;
}

}  // namespace saslm
