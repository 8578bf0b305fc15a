// ConnectionSet: the client connections of one loop: it serves each until it ends.
//
// A connection over TLS begins with its handshake, for which it has server.header_timeout: what it
// comes to otherwise is told to Handler::handshake_failed(). In a drain a handshake under way may
// end, and be followed by a request.
//
// Contract: single-threaded. drain() closes those that are idle and lets the others finish (their
// handler says Connection: close while draining); cut() ends them all at once. The destructor cuts.
#pragma once

#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <string>

#include "holdfast/net/tls_context.h"
#include "holdfast/proxy/downstream.h"
#include "holdfast/runtime/scope.h"

namespace holdfast::proxy {

class ConnectionSet {
 public:
  /// `on_closed` is called after each connection's end.
  ConnectionSet(Handler& handler, runtime::Context& context, std::function<void()> on_closed)
      : handler_(handler), context_(context), on_closed_(std::move(on_closed)) {}
  ConnectionSet(const ConnectionSet&) = delete;
  ConnectionSet& operator=(const ConnectionSet&) = delete;
  ~ConnectionSet() { cut(); }

  /// `listener`, the name it is known by, outlives the connection. `tls`, a TlsServerContext's,
  /// where it is over TLS.
  void serve(std::unique_ptr<net::Stream> stream, const std::string& listener,
             net::TlsSession tls = nullptr);
  void serve(std::unique_ptr<net::Stream> stream, std::string&& listener,
             net::TlsSession tls = nullptr) = delete;
  /// Closes what is between two requests. From the loop, never from a connection's own stack.
  void close_idle();
  /// The same with the one that has been here for longest. False: there is none.
  bool close_oldest_idle();
  void cut() { scope_.cancel_all(); }

  std::size_t size() const { return live_.size(); }

 private:
  struct Live {
    DownstreamConnection* connection = nullptr;  // none before the handshake's end
    runtime::Scope::Entry* entry = nullptr;
  };
  class Registration;

  static bool is_idle(const Live& live);
  runtime::Task<void> run(net::Stream* stream, const std::string& listener, ssl_st* tls);
  runtime::Task<void> serve_requests(std::unique_ptr<net::Stream>& stream,
                                     const std::string& listener, Live& live);

  Handler& handler_;
  runtime::Context& context_;
  std::function<void()> on_closed_;
  std::list<Live> live_;
  runtime::Scope scope_;
};

}  // namespace holdfast::proxy
