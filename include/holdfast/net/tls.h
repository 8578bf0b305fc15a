// TLS, as a client or as a server: a Stream over any Stream. OpenSSL does the protocol; every byte
// of it comes from and goes to the stream below, the transport.
//
// Contract: that of Stream, and
// - Back-pressure: nothing is decrypted beyond read_ahead_limit; the transport then reads ahead its
//   own limit, and takes no more. (Only before a failure everything is decrypted that came first.)
// - The end of the input is the peer's close_notify. A transport that ends without one has been cut
//   off: that is a failure, never an end.
// - finish() sends close_notify, then the transport's FIN. So does the destructor, where neither
//   the stream has failed nor abort() was called nor bytes are still queued.
// - bytes_sent() and queued() count as for a plain stream; queued() has TLS's own overhead in it.
// - Errors: tls_certificate_error, tls_alert_received and tls_protocol_error up to the first byte
//   that was sent. From then on the peer may have seen a request, so any failure is
//   connection_terminated.
// - What the protocol asks to be answered (KeyUpdate, an attempt at renegotiation) is; a peer that
//   asks for max_unasked bytes without taking any has failed.
//
// How it is driven: the transport tells its bytes to the TlsStream itself (Stream::carry()), so the
// task that waits for input here is resumed on the transport's stack, in the same turn of the loop.
// There is no task between, whose frame that one could destroy under itself.
// Ownership: a TlsStream owns its transport. Cost: an idle one is an OpenSSL session without
// buffers.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "holdfast/base/result.h"
#include "holdfast/net/stream.h"
#include "holdfast/net/tls_context.h"
#include "holdfast/net/tls_identity.h"
#include "holdfast/net/tls_sessions.h"
#include "holdfast/runtime/context.h"
#include "holdfast/runtime/task.h"
#include "holdfast/runtime/timers.h"

namespace holdfast::net {

/// Shakes hands over `transport`, which it takes, with the server that was connected to as `host`.
/// Fails with a type of the group connect, whatever happened: the peer has seen no byte of ours.
/// `tls` must live until the task has ended. `sessions`, of this server, outlives the stream;
/// nullptr: nothing is resumed. REQUIRES: `host` is not empty.
runtime::Task<Result<std::unique_ptr<Stream>>> tls_connect(
    std::unique_ptr<Stream>& transport, const TlsClientContext& tls, std::string_view host,
    TimePoint deadline, runtime::Context& context, TlsSessions* sessions = nullptr);

/// Shakes hands over `transport`, which it takes, with a client; `session` is a TlsServerContext's
/// and is taken too. Fails as tls_connect() does; plain HTTP is answered 400, in clear. The
/// stream's client_identity() is the client.
runtime::Task<Result<std::unique_ptr<Stream>>> tls_accept(std::unique_ptr<Stream>& transport,
                                                          TlsSession& session, TimePoint deadline,
                                                          runtime::Context& context);

class TlsStream final : public Stream, private Stream::Carried, private runtime::Timer {
 public:
  static constexpr std::size_t max_unasked = 16 * 1024;

  /// `name`, of the other end, is for messages.
  TlsStream(std::unique_ptr<Stream> transport, TlsSession session, std::string_view name,
            runtime::Context& context);
  ~TlsStream() override;

  /// Begins the handshake. `handshake_over()` is given when established() or failure().
  void start();
  bool established() const { return established_; }
  runtime::Signal& handshake_over() { return handshake_over_; }
  /// The application protocol that the server picked; "": none.
  std::string_view protocol() const;

  // From here on, REQUIRES: established().
  using Stream::send;
  bool send(std::span<const std::string_view> pieces) override;
  std::size_t queued() const override;
  void finish() override;
  void abort() override;
  bool still_quiet() override;
  const ClientIdentity* client_identity() const override { return is_server_ ? &client_ : nullptr; }

 private:
  struct Bio;  // how OpenSSL reaches the transport

  void on_input() override { advance(); }
  void on_sent() override;
  void fire() override { advance(); }
  void set_reading(bool reading) override;

  void advance();
  std::string_view take_input(std::span<char> buffer);
  void shake_hands();
  bool only_ticket_is_left() const;
  std::size_t decrypt(std::span<char> room);
  void encrypt(std::span<const std::string_view> pieces);
  void encrypt_record(std::string_view bytes);
  void flush();
  void tell(std::string_view bytes);

  void interpret(int result);
  void out_of_bytes();
  void fail(ErrorType type, std::string detail);
  void fail_by_protocol();

  runtime::Context& context_;
  const std::string name_;
  std::unique_ptr<Stream> transport_;
  std::string outgoing_;     // encrypted, and not handed to the transport yet
  char first_byte_ = 0;      // of all that the peer has said
  std::size_t unasked_ = 0;  // of outgoing_: answers of the protocol, not sent by our user
  TlsSession session_;
  const bool is_server_;
  ClientIdentity client_;
  bool established_ = false;
  bool peer_closed_ = false;  // close_notify has come
  bool finished_ = false;
  bool transport_finished_ = false;
  bool aborted_ = false;
  std::optional<Error> broken_;  // to be told from the loop
  runtime::Signal handshake_over_;
};

}  // namespace holdfast::net
