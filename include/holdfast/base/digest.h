// Digest: SHA-256 over fields that cannot run into each other: each is hashed with its length
// before it. The one door to the digests of OpenSSL outside net/tls.
//
// Contract: pure and deterministic, the same on every machine. A digest is 32 raw bytes; hex() is
// lower case. FIPS 180-4.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace holdfast {

using Digest = std::array<std::uint8_t, 32>;

std::string hex(const Digest& digest);
/// The bytes, for what stores or compares them as text.
std::string_view bytes_of(const Digest& digest);
/// RFC 4648 §5, without padding.
std::string base64url(const Digest& digest);

class Digester {
 public:
  Digester();
  ~Digester();
  Digester(const Digester&) = delete;
  Digester& operator=(const Digester&) = delete;

  /// Hashes the length of `bytes` (eight bytes, big endian), then `bytes`.
  Digester& field(std::string_view bytes);
  /// The digest of all fields so far; nothing may be added afterwards.
  Digest finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace holdfast
