#include "holdfast/net/tls_context.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <chrono>
#include <cstdlib>
#include <ctime>
#include <system_error>
#include <utility>

#include "holdfast/base/assert.h"
#include "holdfast/net/address.h"
#include "holdfast/net/tls_sessions.h"

namespace holdfast::net {
namespace {

using Done = Result<void, TlsFileError>;

Done done_or_why(bool done, std::string key, const std::string& file) {
  if (done) return {};
  return unexpected(TlsFileError{std::move(key), file, take_openssl_reason()});
}

Done trust(SSL_CTX* context, const std::string& file) {
  if (file.empty()) {
    HOLDFAST_ASSERT(SSL_CTX_set_default_verify_paths(context) == 1);  // having none is no failure
    return {};
  }
  Done regular = check_regular("ca", file);
  if (!regular) return regular;
  return done_or_why(SSL_CTX_load_verify_file(context, file.c_str()) == 1, "ca", file);
}

/// Where OpenSSL finds the system's authorities.
std::string system_place(const char* variable, const char* usual) {
  const char* chosen = ::secure_getenv(variable);
  return chosen != nullptr ? chosen : usual;
}

std::string system_file() {
  return system_place(X509_get_default_cert_file_env(), X509_get_default_cert_file());
}

TlsFiles files_of(const TlsClientOptions& options) {
  if (!options.verify) return TlsFiles({options.cert, options.key});
  if (!options.ca.empty()) return TlsFiles({options.ca, options.cert, options.key});
  return TlsFiles({system_file(),
                   system_place(X509_get_default_cert_dir_env(), X509_get_default_cert_dir()),
                   options.cert, options.key});
}

/// Instead of OpenSSL's own, which asks at the terminal.
int note_that_locked(char*, int, int, void* locked) {
  *static_cast<bool*>(locked) = true;
  return -1;
}

Done read_identity(SSL_CTX* context, const std::string& certificate, const std::string& key) {
  Done regular = check_regular("cert", certificate);
  if (regular) regular = check_regular("key", key);
  if (!regular) return regular;
  const bool read = SSL_CTX_use_certificate_chain_file(context, certificate.c_str()) == 1;
  if (!read) return done_or_why(false, "cert", certificate);
  const bool fits = SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) == 1 &&
                    SSL_CTX_check_private_key(context) == 1;
  Done done = done_or_why(fits, "key", key);
  if (!done && done.error().reason == "unsupported") done.error().reason = "it holds no key in PEM";
  return done;
}

void offer(SSL_CTX* context, std::string_view protocol) {
  if (protocol.empty()) return;
  const std::string list = static_cast<char>(protocol.size()) + std::string(protocol);
  const auto* bytes = reinterpret_cast<const unsigned char*>(list.data());
  const auto size = static_cast<unsigned>(list.size());
  HOLDFAST_ASSERT(SSL_CTX_set_alpn_protos(context, bytes, size) == 0);  // which means success
}

/// Certificates name hosts in their SAN; the subject's common name has been no host name for long.
bool expect_name(SSL* session, const std::string& name) {
  SSL_set_hostflags(session,
                    X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  if (Address::from_ip(name, 0)) {
    return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session), name.c_str()) == 1;
  }
  return SSL_set1_host(session, name.c_str()) == 1 &&
         SSL_set_tlsext_host_name(session, name.c_str()) == 1;
}

}  // namespace

Done check_regular(std::string_view key, const std::string& file) {
  if (!is_special_file(file)) return {};
  return unexpected(TlsFileError{std::string(key), file, "it is not a regular file"});
}

Done use_identity(SSL_CTX& context, const std::string& certificate, const std::string& key) {
  bool locked = false;
  SSL_CTX_set_default_passwd_cb(&context, note_that_locked);
  SSL_CTX_set_default_passwd_cb_userdata(&context, &locked);
  Done done = read_identity(&context, certificate, key);
  SSL_CTX_set_default_passwd_cb_userdata(&context, nullptr);
  if (!done && locked) done.error().reason = "it needs a passphrase";
  return done;
}

void SslFree::operator()(ssl_ctx_st* context) const {
  SSL_CTX_free(context);
}

void SslFree::operator()(ssl_st* session) const {
  SSL_free(session);
}

std::optional<WallTime> end_of_certificate(const SSL_CTX& context) {
  const X509* certificate = SSL_CTX_get0_certificate(&context);
  std::tm end{};
  if (certificate == nullptr || ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end) != 1) {
    return std::nullopt;
  }
  return WallTime(std::chrono::seconds(::timegm(&end)));
}

TlsClientContext::TlsClientContext(Handle handle, TlsFiles files, const TlsClientOptions& options,
                                   std::string_view protocol)
    : handle_(std::move(handle)),
      files_(std::move(files)),
      options_(options),
      protocol_(protocol) {}

TlsClientContext::Made TlsClientContext::make(const TlsClientOptions& options,
                                              std::string_view protocol) {
  TlsFiles files = files_of(options);
  ERR_clear_error();
  Handle handle(SSL_CTX_new(TLS_client_method()));
  HOLDFAST_ASSERT(handle != nullptr);
  SSL_CTX_set_min_proto_version(handle.get(), TLS1_2_VERSION);
  SSL_CTX_set_options(handle.get(), SSL_OP_NO_RENEGOTIATION);
  // An idle connection holds no buffers.
  SSL_CTX_set_mode(handle.get(), SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_verify(handle.get(), options.verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
  if (options.verify) {
    Done trusted = trust(handle.get(), options.ca);
    if (!trusted) return unexpected(std::move(trusted.error()));
  }
  if (!options.cert.empty()) {
    Done identified = use_identity(*handle, options.cert, options.key);
    if (!identified) return unexpected(std::move(identified.error()));
  }
  offer(handle.get(), protocol);
  // TlsSessions keeps them, by server; OpenSSL's own cache would mix servers and threads.
  SSL_CTX_set_session_cache_mode(handle.get(), SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(handle.get(), &TlsSessions::on_given);
  return std::unique_ptr<const TlsClientContext>(
      new TlsClientContext(std::move(handle), std::move(files), options, protocol));
}

TlsClientContext::Made TlsClientContext::read_again() const {
  const std::string system = system_file();
  if (files_.had(system)) {
    // OpenSSL itself takes what it cannot read for no authority, and nobody would be trusted.
    ERR_clear_error();
    const Handle scratch(SSL_CTX_new(TLS_client_method()));
    Done readable = trust(scratch.get(), system);
    if (!readable) return unexpected(std::move(readable.error()));
  }
  return make(options_, protocol_);
}

std::optional<WallTime> TlsClientContext::certificate_end() const {
  return end_of_certificate(*handle_);
}

std::string_view TlsClientContext::name_for(std::string_view host) const {
  return options_.server_name.empty() ? host : options_.server_name;
}

TlsSession TlsClientContext::session(std::string_view name) const {
  HOLDFAST_ASSERT(!name.empty());
  TlsSession session(SSL_new(handle_.get()));
  HOLDFAST_ASSERT(session != nullptr);
  // The root's dot of an absolute name is no part of it in TLS.
  const bool is_absolute = name.size() > 1 && name.ends_with('.');
  const std::string expected(name.substr(0, name.size() - (is_absolute ? 1 : 0)));
  if (!expect_name(session.get(), expected)) return nullptr;
  SSL_set_connect_state(session.get());
  return session;
}

std::string take_openssl_reason() {
  const unsigned long code = ERR_peek_error();
  ERR_clear_error();
  // An error of a file is one of the system, which OpenSSL 3 has no text for here.
  if (ERR_SYSTEM_ERROR(code)) return std::generic_category().message(ERR_GET_REASON(code));
  const char* reason = ERR_reason_error_string(code);
  return reason != nullptr ? reason : "error " + std::to_string(code);
}

}  // namespace holdfast::net
