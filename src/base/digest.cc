#include "holdfast/base/digest.h"

#include <openssl/evp.h>

#include "holdfast/base/assert.h"

namespace holdfast {

struct Digester::State {
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context{EVP_MD_CTX_new(),
                                                                  &EVP_MD_CTX_free};
  bool finished = false;

  void add(const void* bytes, std::size_t size) {
    HOLDFAST_ASSERT(EVP_DigestUpdate(context.get(), bytes, size) == 1);
  }
};

Digester::Digester() : state_(std::make_unique<State>()) {
  HOLDFAST_ASSERT(state_->context != nullptr);
  HOLDFAST_ASSERT(EVP_DigestInit_ex(state_->context.get(), EVP_sha256(), nullptr) == 1);
}

Digester::~Digester() = default;

Digester& Digester::field(std::string_view bytes) {
  HOLDFAST_ASSERT(!state_->finished);
  std::array<std::uint8_t, 8> length{};
  std::uint64_t rest = bytes.size();
  for (auto byte = length.rbegin(); byte != length.rend(); ++byte, rest >>= 8) {
    *byte = static_cast<std::uint8_t>(rest);
  }
  state_->add(length.data(), length.size());
  state_->add(bytes.data(), bytes.size());
  return *this;
}

Digest Digester::finish() {
  HOLDFAST_ASSERT(!state_->finished);
  state_->finished = true;
  Digest digest{};
  HOLDFAST_ASSERT(EVP_DigestFinal_ex(state_->context.get(), digest.data(), nullptr) == 1);
  return digest;
}

std::string hex(const Digest& digest) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  text.reserve(2 * digest.size());
  for (const std::uint8_t byte : digest) {
    text += digits[byte >> 4];
    text += digits[byte & 15];
  }
  return text;
}

std::string_view bytes_of(const Digest& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

std::string base64url(const Digest& digest) {
  constexpr std::string_view letters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string text;
  std::uint32_t bits = 0;
  int count = 0;  // of the low bits of `bits` that are not written yet
  for (const std::uint8_t byte : digest) {
    bits = bits << 8 | byte;
    for (count += 8; count >= 6; count -= 6) text += letters[bits >> (count - 6) & 63];
  }
  if (count > 0) text += letters[bits << (6 - count) & 63];
  return text;
}

}  // namespace holdfast
