// Certificates for a test: an authority, and what it issues, right or wrong in the one way that a
// test asks for. P-256, made anew in each run.
//
// Contract: PEM texts, and files of them in a folder that goes away with its Certificate or
// Authority.
#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>
#include <string>

#include "tests/support/child_process.h"

namespace holdfast::testing {

struct CertificateWish {
  std::string san = "DNS:redis.test";  // as OpenSSL writes it; "": none
  std::string common_name = "some server";
  int first_day = -1;  // from today
  int last_day = 1;
};

struct OpensslFree {
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
using X509Pointer = std::unique_ptr<X509, OpensslFree>;
using KeyPointer = std::unique_ptr<EVP_PKEY, OpensslFree>;

/// A certificate with its key.
class Certificate {
 public:
  Certificate(X509Pointer certificate, KeyPointer key);

  X509* get() const { return certificate_.get(); }
  EVP_PKEY* key() const { return key_.get(); }
  std::string cert_file() const { return folder_.path() + "/cert.pem"; }
  std::string key_file() const { return folder_.path() + "/key.pem"; }
  /// The same key under a passphrase.
  std::string locked_key_file() const;

 private:
  X509Pointer certificate_;
  KeyPointer key_;
  TemporaryFolder folder_;
};

class Authority {
 public:
  explicit Authority(const std::string& name = "some authority");
  /// One whose own certificate is of `above`, and ends on `last_day` from today.
  Authority(const std::string& name, const Authority& above, int last_day = 1000);

  std::string ca_file() const { return root_.cert_file(); }
  X509* root() const { return root_.get(); }
  Certificate issue(const CertificateWish& wish = {}) const;
  /// Of nobody but itself.
  static Certificate self_signed(const CertificateWish& wish);

 private:
  Certificate root_;
};

}  // namespace holdfast::testing
