// A run's secret, known only to its ranks, and how they prove that they know it without sending it. A proof
// is a keyed hash (HMAC-SHA-512-256) of all messages of both sides, including a random number that each draws
// for the connection: no proof works twice, or for another rank.
//
// Random numbers, hashes and the constant-time comparison are libsodium's.
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

// MachineError if the system has no random numbers (all but secret_of).
std::string draw_secret();  // 64 hexadecimal digits
Nonce draw_nonce();
std::optional<SecretKey> secret_of(std::string_view text);  // nullopt: too short

Proof prove(const SecretKey&, std::span<const std::byte> said);
bool proves(const Proof&, const SecretKey&, std::span<const std::byte> said);

}  // namespace saslm
