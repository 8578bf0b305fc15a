#include "holdfast/net/tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "holdfast/base/assert.h"

namespace holdfast::net {
namespace {

/// The most that one record of TLS holds.
constexpr std::size_t record_size = 16 * 1024;
/// A buffer of up to this size stays with its stream for the next time.
constexpr std::size_t small_buffer = 4096;

/// For a client that forgot the "s" of https, in clear: it could read nothing else.
constexpr std::string_view plain_http_answer =
    "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 50\r\n"
    "Cache-Control: no-store\r\nConnection: close\r\n\r\nThis is a TLS port: plain HTTP was sent "
    "to HTTPS.\n";

bool is_ssl_reason(unsigned long code, int reason) {
  return ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == reason;
}

/// OpenSSL numbers the alerts of the peer as reasons from here on.
bool is_alert(unsigned long code) {
  return ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) >= SSL_AD_REASON_OFFSET;
}

}  // namespace

// A BIO instead of two in memory: records are read from where the transport has them, so what it
// holds back stays with it, and nothing is copied twice.
struct TlsStream::Bio {
  static TlsStream& owner(BIO* bio) { return *static_cast<TlsStream*>(BIO_get_data(bio)); }

  static int read(BIO* bio, char* buffer, int size) {
    Stream& transport = *owner(bio).transport_;
    const std::string_view taken = transport.input().substr(0, static_cast<std::size_t>(size));
    if (owner(bio).first_byte_ == 0 && !taken.empty()) owner(bio).first_byte_ = taken.front();
    BIO_clear_retry_flags(bio);
    if (taken.empty()) {
      BIO_set_retry_read(bio);
      return -1;
    }
    std::memcpy(buffer, taken.data(), taken.size());
    transport.consume(taken.size());
    return static_cast<int>(taken.size());
  }

  static int write(BIO* bio, const char* bytes, int size) {
    owner(bio).outgoing_.append(bytes, static_cast<std::size_t>(size));
    return size;
  }

  static long control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

  static BIO_METHOD* make_method() {
    BIO_METHOD* method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");
    HOLDFAST_ASSERT(method != nullptr);
    BIO_meth_set_read(method, &Bio::read);
    BIO_meth_set_write(method, &Bio::write);
    BIO_meth_set_ctrl(method, &Bio::control);
    return method;
  }

  static BIO* make(TlsStream& stream) {
    static BIO_METHOD* const method = make_method();
    BIO* bio = BIO_new(method);
    HOLDFAST_ASSERT(bio != nullptr);
    BIO_set_data(bio, &stream);
    BIO_set_init(bio, 1);
    return bio;
  }
};

TlsStream::TlsStream(std::unique_ptr<Stream> transport, TlsSession session, std::string_view name,
                     runtime::Context& context)
    : Stream(context.timers),
      context_(context),
      name_(name),
      transport_(std::move(transport)),
      session_(std::move(session)),
      is_server_(SSL_is_server(session_.get()) == 1) {
  peer_ = transport_->peer();
  BIO* bio = Bio::make(*this);
  SSL_set_bio(session_.get(), bio, bio);
  transport_->carry(*this);
}

TlsStream::~TlsStream() {
  if (established_ && !aborted_) finish();
  // OpenSSL spoils the session of a connection that ends without close_notify. To be aborted says
  // nothing against it.
  if (established_ && !failure()) {
    SSL_set_shutdown(session_.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  }
}

void TlsStream::start() {
  advance();
}

// -- input

// What there is to tell is told at the very end: whoever is told may destroy this. (While hands are
// shaken nobody waits for the stream itself, and who waits for that is told last.)
void TlsStream::advance() {
  if (failure()) return;
  const bool connecting = !established_;
  // On the stack, and told from there: mostly it is consumed before this returns.
  std::array<char, read_ahead_limit> buffer;
  const std::size_t unsent = outgoing_.size();
  if (connecting) shake_hands();
  const std::string_view bytes = take_input(buffer);
  unasked_ += outgoing_.size() - unsent;
  if (connecting && only_ticket_is_left()) {
    // It goes with the answer to what has come with the handshake's end, or in the next turn.
    context_.timers.arm(*this, context_.now());
  } else {
    flush();
  }
  if (unasked_ > max_unasked) {
    fail(ErrorType::tls_protocol_error, "the peer asks for answers that it does not take");
  }
  tell(bytes);
  if (connecting && (established_ || failure())) handshake_over_.notify();
}

void TlsStream::shake_hands() {
  ERR_clear_error();
  const int result = SSL_do_handshake(session_.get());
  if (result == 1) {
    established_ = true;
    const X509* client = is_server_ ? SSL_get0_peer_certificate(session_.get()) : nullptr;
    if (client != nullptr) client_ = ClientIdentity::of(*client);
  } else {
    interpret(result);
  }
}

/// What a server of TLS 1.3 has to say when hands are shaken: the client is waiting for none of it.
bool TlsStream::only_ticket_is_left() const {
  return established_ && is_server_ && SSL_version(session_.get()) == TLS1_3_VERSION;
}

std::string_view TlsStream::protocol() const {
  const unsigned char* name = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(session_.get(), &name, &size);
  return {reinterpret_cast<const char*>(name), size};
}

/// What is to be told next; what a failure must not overtake is kept.
std::string_view TlsStream::take_input(std::span<char> buffer) {
  if (!transport_->failure()) {
    const std::size_t room = read_ahead_limit - std::min(read_ahead_limit, input().size());
    const std::size_t size = decrypt(buffer.first(room));
    // There may be more, for which there is room again once these bytes were told.
    if (size > 0 && size == room) set_reading(true);
    return {buffer.data(), size};
  }
  while (const std::size_t size = decrypt(buffer)) keep({buffer.data(), size});
  out_of_bytes();
  return {};
}

/// Fills `room` as far as the peer's bytes do.
std::size_t TlsStream::decrypt(std::span<char> room) {
  std::size_t size = 0;
  while (established_ && !broken_ && !peer_closed_ && size < room.size()) {
    std::size_t count = 0;
    ERR_clear_error();
    const int result = SSL_read_ex(session_.get(), room.data() + size, room.size() - size, &count);
    size += count;
    if (result == 1) continue;
    interpret(result);
    break;
  }
  return size;
}

void TlsStream::tell(std::string_view bytes) {
  if (broken_) {
    keep(bytes);
    deliver_failure(*broken_);
  } else if (peer_closed_ && !ended()) {
    keep(bytes);
    deliver_end();
  } else if (!bytes.empty()) {
    deliver(bytes);
  }
}

// There may be more with the transport than was decrypted. It comes from the loop.
void TlsStream::set_reading(bool reading) {
  if (reading) context_.timers.arm(*this, context_.now());
}

bool TlsStream::still_quiet() {
  return Stream::still_quiet() && SSL_has_pending(session_.get()) == 0 && transport_->still_quiet();
}

// -- failures

/// Why OpenSSL did not go on.
void TlsStream::interpret(int result) {
  switch (SSL_get_error(session_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      return out_of_bytes();
    case SSL_ERROR_ZERO_RETURN:
      peer_closed_ = true;
      if (!established_) fail(ErrorType::tls_protocol_error, "the peer closed TLS");
      return;
    default:
      return fail_by_protocol();
  }
}

void TlsStream::out_of_bytes() {
  if (transport_->failure()) {
    fail(transport_->failure()->type, transport_->failure()->detail);
  } else if (transport_->ended() && !peer_closed_) {
    fail(ErrorType::connection_terminated, "the connection was closed without close_notify");
  }
}

void TlsStream::fail_by_protocol() {
  const unsigned long code = ERR_peek_error();
  // What is wrong with a signature comes before that the certificate is refused.
  if (is_ssl_reason(ERR_peek_last_error(), SSL_R_CERTIFICATE_VERIFY_FAILED)) {
    const long verdict = SSL_get_verify_result(session_.get());
    fail(ErrorType::tls_certificate_error,
         std::string("its certificate is refused: ") + X509_verify_cert_error_string(verdict));
  } else if (is_ssl_reason(code, SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)) {
    fail(ErrorType::tls_certificate_error, "it shows no certificate");
  } else if (is_alert(code)) {
    fail(ErrorType::tls_alert_received, "the peer refused: " + take_openssl_reason());
  } else if (is_server_ && !established_ && first_byte_ >= 'A' && first_byte_ <= 'Z') {
    outgoing_ = plain_http_answer;  // a record of TLS begins with no letter, a method does
    fail(ErrorType::tls_protocol_error, "the peer speaks HTTP without TLS");
  } else if (is_ssl_reason(code, SSL_R_WRONG_VERSION_NUMBER)) {
    fail(ErrorType::tls_protocol_error, "what the peer says is not TLS");
  } else {
    fail(ErrorType::tls_protocol_error, take_openssl_reason());
  }
}

/// The first failure counts, under the name that its moment gives it.
void TlsStream::fail(ErrorType type, std::string detail) {
  if (broken_) return;
  if (!established_ && group_of(type) != ErrorGroup::connect) type = ErrorType::tls_protocol_error;
  if (bytes_sent() > 0) type = ErrorType::connection_terminated;
  const std::string where = established_ ? "TLS with " : "TLS handshake with ";
  broken_ = Error{type, where + name_ + ": " + detail};
}

// -- output

bool TlsStream::send(std::span<const std::string_view> pieces) {
  HOLDFAST_ASSERT(established_ && !sending_ && !finished_);
  if (failure()) return true;
  encrypt(pieces);
  flush();
  sending_ = broken_ || !outgoing_.empty() || transport_->sending();
  return !sending_;
}

/// Gathers small pieces: a record costs the peer more than its bytes.
void TlsStream::encrypt(std::span<const std::string_view> pieces) {
  std::array<char, record_size> gathered;
  std::size_t size = 0;
  for (std::string_view piece : pieces) {
    bytes_sent_ += piece.size();
    while (!piece.empty()) {
      const std::string_view part = piece.substr(0, record_size - size);
      piece.remove_prefix(part.size());
      if (part.size() == record_size) {
        encrypt_record(part);
        continue;
      }
      std::memcpy(gathered.data() + size, part.data(), part.size());
      size += part.size();
      if (size < record_size) continue;
      encrypt_record({gathered.data(), size});
      size = 0;
    }
  }
  if (size > 0) encrypt_record({gathered.data(), size});
}

void TlsStream::encrypt_record(std::string_view bytes) {
  if (broken_) return;
  std::size_t written = 0;
  ERR_clear_error();
  if (SSL_write_ex(session_.get(), bytes.data(), bytes.size(), &written) == 1) return;
  fail_by_protocol();
  context_.timers.arm(*this, context_.now());
}

void TlsStream::flush() {
  if (transport_->sending()) return;
  if (!outgoing_.empty() && !transport_finished_) transport_->send(outgoing_);
  outgoing_.clear();
  if (outgoing_.capacity() > small_buffer) outgoing_ = std::string();
  unasked_ = 0;
  if (finished_ && !std::exchange(transport_finished_, true)) transport_->finish();
}

void TlsStream::on_sent() {
  flush();
  if (sending_ && outgoing_.empty() && !transport_->sending()) deliver_sent();
}

std::size_t TlsStream::queued() const {
  return sending_ ? outgoing_.size() + transport_->queued() : 0;
}

void TlsStream::finish() {
  if (failure() || std::exchange(finished_, true)) return;
  ERR_clear_error();
  SSL_shutdown(session_.get());
  flush();
}

void TlsStream::abort() {
  aborted_ = true;
  transport_->abort();
}

// -- the handshake

namespace {

/// Shakes hands; it has failed if that took too long.
runtime::Task<Result<void>> shake(TlsStream& stream, std::string_view name, TimePoint deadline,
                                  runtime::Context& context) {
  stream.start();
  while (!stream.established() && !stream.failure()) {
    const bool in_time =
        co_await runtime::wait_for(stream.handshake_over(), context.timers, deadline);
    if (in_time) continue;
    const std::string detail = "TLS handshake with " + std::string(name) + ": no answer in time";
    co_return unexpected(Error{ErrorType::connection_timeout, detail});
  }
  if (stream.failure()) co_return unexpected(*stream.failure());
  co_return Result<void>();
}

}  // namespace

runtime::Task<Result<std::unique_ptr<Stream>>> tls_connect(
    std::unique_ptr<Stream>& transport, const TlsClientContext& tls, std::string_view host,
    TimePoint deadline, runtime::Context& context, TlsSessions* sessions) {
  const std::string name(tls.name_for(host));
  TlsSession session = tls.session(name);
  if (session == nullptr) {
    co_return unexpected(Error{ErrorType::tls_certificate_error, name + " is no name of a server"});
  }
  if (sessions != nullptr) sessions->begin(*session);
  auto stream =
      std::make_unique<TlsStream>(std::move(transport), std::move(session), name, context);
  TlsStream& shaking = *stream;
  Result<void> shaken = co_await shake(shaking, name, deadline, context);
  if (!shaken) {
    // It may be what was to be resumed that the server cannot bear: the next one does without.
    if (stream->failure() && sessions != nullptr) sessions->forget();
    co_return unexpected(std::move(shaken.error()));
  }
  if (!stream->protocol().empty() && stream->protocol() != tls.protocol()) {
    co_return unexpected(
        Error{ErrorType::tls_protocol_error,
              "TLS handshake with " + name + ": the server picked another protocol"});
  }
  std::unique_ptr<Stream> ready = std::move(stream);
  co_return std::move(ready);
}

runtime::Task<Result<std::unique_ptr<Stream>>> tls_accept(std::unique_ptr<Stream>& transport,
                                                          TlsSession& session, TimePoint deadline,
                                                          runtime::Context& context) {
  const std::string name = transport->peer().is_unix() ? "the client" : transport->peer().text();
  auto stream =
      std::make_unique<TlsStream>(std::move(transport), std::move(session), name, context);
  TlsStream& shaking = *stream;
  Result<void> shaken = co_await shake(shaking, name, deadline, context);
  if (!shaken) co_return unexpected(std::move(shaken.error()));
  std::unique_ptr<Stream> ready = std::move(stream);
  co_return std::move(ready);
}

}  // namespace holdfast::net
