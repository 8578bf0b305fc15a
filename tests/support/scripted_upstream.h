// ScriptedUpstream: a server that does to each request exactly what the test says, and remembers
// it.
//
// Contract: a thread for each connection runs the handler once for each request. A handler may
// answer, answer wrongly, wait, close or reset; what the peer does to it (a connection that goes
// away) ends the handler by a WireError that the server swallows. The destructor ends every
// connection and joins. Thread-safe: everything public.
#pragma once

#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "tests/support/http_message.h"

namespace holdfast::testing {

class ScriptedUpstream;

/// One request on one connection, as a handler sees it.
class Exchange {
 public:
  Request request;

  /// A whole response with Content-Length.
  void respond(int status, std::string_view body = "", const Headers& headers = {});
  void send(std::string_view bytes) { socket_.send(bytes); }
  /// The request's body, for an upstream that leaves it to the handler.
  const std::string& read_body();
  /// Waits until the gate opens, the peer goes away or the server is stopped (these two throw).
  void hold(Gate& gate);
  /// Waits for the peer to end the connection; throws when the server is stopped.
  void wait_for_close();
  /// Ends the connection after what was sent.
  void close();
  void reset();
  WireReader& reader() { return reader_; }
  Socket& socket() { return socket_; }

 private:
  friend class ScriptedUpstream;
  Exchange(ScriptedUpstream& server, Socket& socket, WireReader& reader)
      : server_(server), socket_(socket), reader_(reader) {}

  ScriptedUpstream& server_;
  Socket& socket_;
  WireReader& reader_;
  std::size_t record_ = 0;
};

using Handler = std::function<void(Exchange&)>;

enum class BodyReading { first, by_handler };

class ScriptedUpstream {
 public:
  explicit ScriptedUpstream(Handler handler, BodyReading body = BodyReading::first,
                            std::string_view address = "127.0.0.1:0");
  ~ScriptedUpstream();
  ScriptedUpstream(const ScriptedUpstream&) = delete;
  ScriptedUpstream& operator=(const ScriptedUpstream&) = delete;

  const std::string& address() const { return listener_.address(); }
  /// As `endpoints` has it.
  std::string url() const;
  /// What requests from now on get.
  void answer(Handler handler);
  /// What every connection from now on is sent before anything is asked; "" for nothing.
  void greet(std::string bytes);
  /// Remembers so many requests, those that came last: for a test that runs for long.
  void remember(std::size_t requests);

  /// Every request whose head came, in that order, without the first `from` of them.
  std::vector<Request> requests(std::size_t from = 0) const;
  std::size_t request_count() const;
  /// REQUIRES: at least one request came.
  Request last_request() const { return requests().back(); }
  bool wait_for_requests(std::size_t count) const;
  /// Connections accepted so far, and those that are open now.
  std::size_t connection_count() const;
  std::size_t open_connections() const;
  /// Heads that were no HTTP: "" if there was none.
  std::string garbage() const;

  /// New connections are refused from now on; those that are open stay.
  void refuse();
  void accept_again();
  /// Ends every open connection with a FIN.
  void close_connections();

 private:
  friend class Exchange;

  struct Connection {
    Socket socket;
    std::thread thread;
    bool open = true;
  };

  void accept_connections();
  void serve(Connection& connection, std::size_t id);
  void serve_requests(Socket& socket, std::size_t id);
  std::size_t record(const Request& request);
  void update(std::size_t record, const Request& request);
  void join_ended_connections();
  std::string greeting() const;
  bool stopping() const;

  ListeningSocket listener_;
  const BodyReading body_reading_;
  mutable std::mutex mutex_;
  Handler handler_;
  std::string greeting_;
  std::list<Connection> connections_;
  std::size_t accepted_ = 0;
  std::deque<Request> requests_;
  std::size_t forgotten_ = 0;  // requests before the first of `requests_`
  std::size_t remembered_ = static_cast<std::size_t>(-1);
  std::string garbage_;
  bool stopping_ = false;
  std::mutex listener_mutex_;
  std::thread acceptor_;
};

/// A whole response with Content-Length.
std::string response_text(int status, std::string_view body = "", const Headers& headers = {});

// Handlers.
Handler reply(int status, std::string body = "", Headers headers = {});
/// These bytes and nothing else; the connection stays.
Handler send_raw(std::string bytes);
/// These bytes, then the end of the connection.
Handler send_and_close(std::string bytes);
Handler send_and_reset(std::string bytes);
/// No answer until the peer goes away.
Handler never_answer();
/// The n-th request over all connections gets the n-th handler; the last one stays.
Handler in_turn(std::vector<Handler> handlers);
/// Waits for the gate, then goes on as `then`.
Handler after(Gate& gate, Handler then);
/// The request's body comes back.
Handler echo();

}  // namespace holdfast::testing
