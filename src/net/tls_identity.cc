#include "holdfast/net/tls_identity.h"

#include <openssl/bio.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "holdfast/base/digest.h"

namespace holdfast::net {
namespace {

struct Free {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(GENERAL_NAMES* names) const { GENERAL_NAMES_free(names); }
};

bool is_visible(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= 0x20 && c < 0x7f; });
}

std::string hash_of(const X509& certificate) {
  Digest digest{};
  unsigned size = digest.size();
  X509_digest(&certificate, EVP_sha256(), digest.data(), &size);
  return hex(digest);
}

std::string subject_of(const X509& certificate) {
  const std::unique_ptr<BIO, Free> out(BIO_new(BIO_s_mem()));
  X509_NAME_print_ex(out.get(), X509_get_subject_name(&certificate), 0, XN_FLAG_RFC2253);
  char* text = nullptr;
  const long size = BIO_get_mem_data(out.get(), &text);
  return size > 0 ? std::string(text, static_cast<std::size_t>(size)) : std::string();
}

std::string quoted(std::string_view value) {
  std::string text = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') text += '\\';
    text += c;
  }
  return text + '"';
}

std::string as_value(std::string_view value) {
  return value.find_first_of(",;=\"\\ ") == std::string_view::npos ? std::string(value)
                                                                   : quoted(value);
}

std::optional<std::string_view> text_of(const GENERAL_NAME& name, int type) {
  if (name.type != type) return std::nullopt;
  const ASN1_IA5STRING* string =
      type == GEN_URI ? name.d.uniformResourceIdentifier : name.d.dNSName;
  const std::string_view text(reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)),
                              static_cast<std::size_t>(ASN1_STRING_length(string)));
  if (!is_visible(text)) return std::nullopt;
  return text;
}

}  // namespace

ClientIdentity ClientIdentity::of(const X509& certificate) {
  ClientIdentity client;
  const std::string digest = hash_of(certificate);
  const std::string hash = "Hash=" + digest;
  const std::string subject = subject_of(certificate);
  client.forwarded = hash;
  if (is_visible(subject)) client.forwarded += ";Subject=" + quoted(subject);
  client.name = subject.empty() ? "hash " + digest : "subject " + subject;

  const std::unique_ptr<GENERAL_NAMES, Free> names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(&certificate, NID_subject_alt_name, nullptr, nullptr)));
  const int count = names != nullptr ? sk_GENERAL_NAME_num(names.get()) : 0;
  for (int i = count - 1; i >= 0; --i) {
    const auto uri = text_of(*sk_GENERAL_NAME_value(names.get(), i), GEN_URI);
    if (uri) client.name = "uri " + std::string(*uri);
  }
  for (const auto& [type, label] : {std::pair{GEN_URI, ";URI="}, std::pair{GEN_DNS, ";DNS="}}) {
    for (int i = 0; i < count && client.forwarded.size() <= forwarded_limit; ++i) {
      const auto text = text_of(*sk_GENERAL_NAME_value(names.get(), i), type);
      if (text) client.forwarded += label + as_value(*text);
    }
  }
  if (client.forwarded.size() > forwarded_limit) client.forwarded = hash;
  return client;
}

}  // namespace holdfast::net
