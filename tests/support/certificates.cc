#include "tests/support/certificates.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <stdexcept>
#include <utility>

namespace holdfast::testing {
namespace {

void require(bool done, const char* what) {
  if (!done) throw std::runtime_error(std::string("OpenSSL: ") + what);
}

struct FileClose {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
std::unique_ptr<std::FILE, FileClose> open_to_write(const std::string& path) {
  std::unique_ptr<std::FILE, FileClose> file(std::fopen(path.c_str(), "w"));
  require(file != nullptr, "fopen");
  return file;
}

void add_extension(X509* certificate, int kind, const std::string& value) {
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, kind, value.c_str());
  require(extension != nullptr, value.c_str());
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

X509Pointer make_certificate(const CertificateWish& wish, EVP_PKEY* key, long serial) {
  constexpr long day = 24 * 60 * 60;
  X509Pointer made(X509_new());
  X509_set_version(made.get(), X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(made.get()), serial);
  X509_gmtime_adj(X509_getm_notBefore(made.get()), wish.first_day * day);
  X509_gmtime_adj(X509_getm_notAfter(made.get()), wish.last_day * day);
  X509_set_pubkey(made.get(), key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(made.get()), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(wish.common_name.c_str()), -1,
                             -1, 0);
  if (!wish.san.empty()) add_extension(made.get(), NID_subject_alt_name, wish.san);
  return made;
}

void sign(X509* certificate, const X509* issuer, EVP_PKEY* key) {
  X509_set_issuer_name(certificate, X509_get_subject_name(issuer));
  require(X509_sign(certificate, key, EVP_sha256()) > 0, "signing a certificate");
}

KeyPointer make_key() {
  KeyPointer key(EVP_EC_gen("P-256"));
  require(key != nullptr, "a key");
  return key;
}

/// `above`: nullptr for a root.
Certificate make_authority(const std::string& name, const Certificate* above, int last_day) {
  KeyPointer key = make_key();
  X509Pointer made =
      make_certificate({"", name, -1000, last_day}, key.get(), above == nullptr ? 1 : 2);
  add_extension(made.get(), NID_basic_constraints, "critical,CA:TRUE");
  add_extension(made.get(), NID_key_usage, "critical,keyCertSign,cRLSign");
  sign(made.get(), above != nullptr ? above->get() : made.get(),
       above != nullptr ? above->key() : key.get());
  return {std::move(made), std::move(key)};
}

}  // namespace

Certificate::Certificate(X509Pointer certificate, KeyPointer key)
    : certificate_(std::move(certificate)), key_(std::move(key)) {
  PEM_write_X509(open_to_write(cert_file()).get(), certificate_.get());
  PEM_write_PrivateKey(open_to_write(key_file()).get(), key_.get(), nullptr, nullptr, 0, nullptr,
                       nullptr);
}

std::string Certificate::locked_key_file() const {
  const std::string path = folder_.path() + "/locked.pem";
  char passphrase[] = "sesame";
  PEM_write_PrivateKey(open_to_write(path).get(), key_.get(), EVP_aes_128_cbc(), nullptr, 0,
                       nullptr, passphrase);
  return path;
}

Authority::Authority(const std::string& name) : root_(make_authority(name, nullptr, 1000)) {}

Authority::Authority(const std::string& name, const Authority& above, int last_day)
    : root_(make_authority(name, &above.root_, last_day)) {}

Certificate Authority::issue(const CertificateWish& wish) const {
  KeyPointer key = make_key();
  X509Pointer made = make_certificate(wish, key.get(), 3);
  sign(made.get(), root_.get(), root_.key());
  return {std::move(made), std::move(key)};
}

Certificate Authority::self_signed(const CertificateWish& wish) {
  KeyPointer key = make_key();
  X509Pointer made = make_certificate(wish, key.get(), 4);
  sign(made.get(), made.get(), key.get());
  return {std::move(made), std::move(key)};
}

}  // namespace holdfast::testing
