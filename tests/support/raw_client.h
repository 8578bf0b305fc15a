// RawClient: one client connection that sends exactly the bytes it is told and reads strictly.
//
// Contract: reading never throws for what the peer does: a response that ends early comes back with
// `complete` false and its `fault`. Not thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "tests/support/http_message.h"

namespace holdfast::testing {

class RawClient {
 public:
  explicit RawClient(std::string_view address, int receive_buffer = 0)
      : socket_(Socket::connect(address, receive_buffer)) {}
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  void send(std::string_view bytes) { socket_.send(bytes); }
  /// Sends, and does not mind if the peer has already closed or reset.
  void send_if_open(std::string_view bytes);
  /// One write for each byte.
  void send_bytewise(std::string_view bytes);

  /// The next final response with its body.
  Response read_response(std::string_view request_method = "GET");
  /// Only the head; its body is read by read_body or through reader().
  Response read_head();
  void read_body(Response& response, const BodySink& sink, std::string_view request_method = "GET");

  /// Sends a request and reads its response. Host is set unless `headers` has one, Content-Length
  /// if there is a body.
  Response request(std::string_view method, std::string_view target, const Headers& headers = {},
                   std::string_view body = "");
  Response get(std::string_view target, const Headers& headers = {}) {
    return request("GET", target, headers);
  }
  Response post(std::string_view target, std::string_view body, const Headers& headers = {}) {
    return request("POST", target, headers, body);
  }

  /// Everything up to the end of the stream; `fault` says how it ended.
  std::string read_to_end(Fault* fault = nullptr);
  /// Waits for the peer to end the connection: Fault::end, reset, or timeout; malformed if bytes
  /// came.
  Fault wait_for_close(Milliseconds within = patience);

  void half_close() { socket_.shutdown_write(); }
  void reset() { socket_.reset(); }
  void close() { socket_.close(); }
  Socket& socket() { return socket_; }
  WireReader& reader() { return reader_; }

 private:
  Socket socket_;
  WireReader reader_{socket_};
};

/// The bytes of a request as RawClient::request sends it.
std::string request_text(std::string_view method, std::string_view target,
                         const Headers& headers = {}, std::string_view body = "");

/// One request on a connection of its own.
Response fetch(std::string_view address, std::string_view target, const Headers& headers = {},
               std::string_view method = "GET", std::string_view body = "");

}  // namespace holdfast::testing
