#include "tests/support/raw_client.h"

namespace holdfast::testing {
namespace {

/// Runs `read`, which fills `response`; what the peer did wrong becomes the response's fault.
template <typename Read>
void guarded(Response& response, Read&& read) {
  try {
    read();
  } catch (const WireError& error) {
    response.complete = false;
    response.fault = error.fault();
    response.reason += std::string(" [") + error.what() + "]";
  }
}

}  // namespace

std::string request_text(std::string_view method, std::string_view target, const Headers& headers,
                         std::string_view body) {
  std::string text = std::string(method) + " " + std::string(target) + " HTTP/1.1\r\n";
  if (!headers.has("Host")) text += "Host: test.local\r\n";
  if (!body.empty()) text += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  return text + headers.text() + "\r\n" + std::string(body);
}

void RawClient::send_if_open(std::string_view bytes) {
  try {
    socket_.send(bytes);
  } catch (const WireError&) {
  }
}

void RawClient::send_bytewise(std::string_view bytes) {
  for (const char& byte : bytes) socket_.send(std::string_view(&byte, 1));
}

Response RawClient::read_head() {
  Response response;
  guarded(response, [&] { response = read_response_head(reader_); });
  return response;
}

void RawClient::read_body(Response& response, const BodySink& sink,
                          std::string_view request_method) {
  guarded(response, [&] { read_response_body(reader_, response, request_method, sink); });
}

Response RawClient::read_response(std::string_view request_method) {
  Response response = read_head();
  if (response.fault != Fault::none || response.status == 101) return response;
  read_body(
      response, [&](std::string_view piece) { response.body += piece; }, request_method);
  return response;
}

Response RawClient::request(std::string_view method, std::string_view target,
                            const Headers& headers, std::string_view body) {
  send_if_open(request_text(method, target, headers, body));
  return read_response(method);
}

std::string RawClient::read_to_end(Fault* fault) {
  std::string bytes;
  Fault how = Fault::end;
  try {
    while (reader_.wait_for_byte()) bytes += reader_.read_some(1 << 20);
  } catch (const WireError& error) {
    how = error.fault();
  }
  if (fault != nullptr) *fault = how;
  return bytes;
}

Fault RawClient::wait_for_close(Milliseconds within) {
  Fault fault = Fault::malformed;
  reader_.set_patience(within);
  try {
    if (!reader_.wait_for_byte()) fault = Fault::end;
  } catch (const WireError& error) {
    fault = error.fault();
  }
  reader_.set_patience(patience);
  return fault;
}

Response fetch(std::string_view address, std::string_view target, const Headers& headers,
               std::string_view method, std::string_view body) {
  RawClient client(address);
  return client.request(method, target, headers, body);
}

}  // namespace holdfast::testing
