// A run's secret: what its ranks have in common and nobody else, and how they prove it to each other without
// saying it. A proof is a keyed hash (HMAC-SHA-512-256) of all that both sides have said, with a number that
// each of them draws for the one connection: so no proof serves twice, or for another rank.
//
// Its calls are libsodium's: random numbers, hashes, a comparison that takes equally long wherever the first
// difference is.
#pragma once
#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace saslm {

constexpr const char* kSecretVariable = "SASLM_SECRET";
constexpr size_t kShortestSecret = 32;  // characters: 128 bits in hexadecimal

using SecretKey = std::array<std::byte, 32>;
using Nonce = std::array<std::byte, 32>;
using Proof = std::array<std::byte, 32>;

// All but secret_of: MachineError where the system gives no random numbers.
std::string draw_secret();  // 64 hexadecimal digits
Nonce draw_nonce();
std::optional<SecretKey> secret_of(std::string_view text);  // none: it is too short

Proof prove(const SecretKey&, std::span<const std::byte> said);
bool proves(const Proof&, const SecretKey&, std::span<const std::byte> said);

}  // namespace saslm
