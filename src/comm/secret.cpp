#include "comm/secret.h"

#include <sodium.h>

#include "core/error.h"

namespace saslm {
namespace {

static_assert(sizeof(SecretKey) == crypto_auth_KEYBYTES && sizeof(Proof) == crypto_auth_BYTES);

void ready() {  // any number of times, in any thread
  if (sodium_init() < 0) throw MachineError("libsodium has no random numbers for the ranks' secret");
}

template <class Bytes>
auto* raw(Bytes& bytes) {
  using Raw = std::conditional_t<std::is_const_v<Bytes>, const unsigned char, unsigned char>;
  return reinterpret_cast<Raw*>(bytes.data());
}
const unsigned char* raw(std::span<const std::byte> bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}

}  // namespace

Nonce draw_nonce() {
  ready();
  Nonce nonce;
  randombytes_buf(nonce.data(), nonce.size());
  return nonce;
}

std::string draw_secret() {
  const Nonce drawn = draw_nonce();
  std::string text(2 * drawn.size() + 1, '\0');
  sodium_bin2hex(text.data(), text.size(), raw(drawn), drawn.size());
  text.pop_back();
  return text;
}

std::optional<SecretKey> secret_of(std::string_view text) {
  if (text.size() < kShortestSecret) return std::nullopt;
  ready();
  SecretKey key;
  crypto_generichash(raw(key), key.size(), reinterpret_cast<const unsigned char*>(text.data()), text.size(),
                     nullptr, 0);
  return key;
}

Proof prove(const SecretKey& key, std::span<const std::byte> said) {
  ready();
  Proof proof;
  crypto_auth(raw(proof), raw(said), said.size(), raw(key));
  return proof;
}

bool proves(const Proof& proof, const SecretKey& key, std::span<const std::byte> said) {
  ready();
  return crypto_auth_verify(raw(proof), raw(said), said.size(), raw(key)) == 0;
}

}  // namespace saslm
