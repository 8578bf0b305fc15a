#include "tests/support/scripted_upstream.h"

#include <algorithm>
#include <atomic>
#include <utility>

namespace holdfast::testing {

std::string response_text(int status, std::string_view body, const Headers& headers) {
  std::string text = "HTTP/1.1 " + std::to_string(status) + " Scripted\r\n";
  const bool bodiless = status == 204 || status == 304 || status < 200;
  if (!bodiless) text += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  return text + headers.text() + "\r\n" + std::string(body);
}

void Exchange::respond(int status, std::string_view body, const Headers& headers) {
  const bool head = request.method == "HEAD";
  std::string text = response_text(status, body, headers);
  if (head) text.resize(text.size() - body.size());
  send(text);
}

const std::string& Exchange::read_body() {
  read_request_body(reader_, request);
  server_.update(record_, request);
  return request.body;
}

void Exchange::hold(Gate& gate) {
  while (!gate.wait_for(2ms)) {
    if (server_.stopping()) throw WireError(Fault::stopped, "hold");
  }
}

void Exchange::wait_for_close() {
  while (!server_.stopping()) {
    try {
      reader_.set_patience(5ms);
      if (!reader_.wait_for_byte()) throw WireError(Fault::end, "peer closed");
      reader_.read_some(1 << 16);
    } catch (const WireError& error) {
      if (error.fault() != Fault::timeout) throw;
    }
  }
}

void Exchange::close() {
  throw WireError(Fault::end, "closed by the script");
}

void Exchange::reset() {
  throw WireError(Fault::reset, "reset by the script");
}

ScriptedUpstream::ScriptedUpstream(Handler handler, BodyReading body, std::string_view address)
    : listener_(address), body_reading_(body), handler_(std::move(handler)) {
  acceptor_ = std::thread([this] { accept_connections(); });
}

ScriptedUpstream::~ScriptedUpstream() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  acceptor_.join();
  close_connections();
  for (Connection& connection : connections_) {
    if (connection.thread.joinable()) connection.thread.join();
  }
}

std::string ScriptedUpstream::url() const {
  return address().starts_with("unix:") ? address() : "http://" + address();
}

void ScriptedUpstream::answer(Handler handler) {
  const std::lock_guard lock(mutex_);
  handler_ = std::move(handler);
}

void ScriptedUpstream::greet(std::string bytes) {
  const std::lock_guard lock(mutex_);
  greeting_ = std::move(bytes);
}

void ScriptedUpstream::remember(std::size_t requests) {
  const std::lock_guard lock(mutex_);
  remembered_ = requests;
}

std::vector<Request> ScriptedUpstream::requests(std::size_t from) const {
  const std::lock_guard lock(mutex_);
  const std::size_t skipped = from - std::min(from, forgotten_);
  return {requests_.begin() + static_cast<std::ptrdiff_t>(skipped), requests_.end()};
}

std::size_t ScriptedUpstream::request_count() const {
  const std::lock_guard lock(mutex_);
  return forgotten_ + requests_.size();
}

bool ScriptedUpstream::wait_for_requests(std::size_t count) const {
  return eventually([&] { return request_count() >= count; });
}

std::size_t ScriptedUpstream::connection_count() const {
  const std::lock_guard lock(mutex_);
  return accepted_;
}

std::size_t ScriptedUpstream::open_connections() const {
  const std::lock_guard lock(mutex_);
  return static_cast<std::size_t>(std::count_if(connections_.begin(), connections_.end(),
                                                [](const Connection& one) { return one.open; }));
}

std::string ScriptedUpstream::garbage() const {
  const std::lock_guard lock(mutex_);
  return garbage_;
}

void ScriptedUpstream::refuse() {
  const std::lock_guard lock(listener_mutex_);
  listener_.refuse();
}

void ScriptedUpstream::accept_again() {
  const std::lock_guard lock(listener_mutex_);
  listener_.listen_again();
}

void ScriptedUpstream::close_connections() {
  const std::lock_guard lock(mutex_);
  for (Connection& connection : connections_) {
    if (connection.open) connection.socket.shutdown_both();
  }
}

std::string ScriptedUpstream::greeting() const {
  const std::lock_guard lock(mutex_);
  return greeting_;
}

bool ScriptedUpstream::stopping() const {
  const std::lock_guard lock(mutex_);
  return stopping_;
}

void ScriptedUpstream::accept_connections() {
  while (!stopping()) {
    std::optional<Socket> accepted;
    {
      const std::lock_guard lock(listener_mutex_);
      accepted = listener_.accept(1ms);
    }
    if (!accepted) {
      std::this_thread::yield();
      continue;
    }
    const std::lock_guard lock(mutex_);
    join_ended_connections();
    Connection& connection = connections_.emplace_back();
    connection.socket = std::move(*accepted);
    const std::size_t id = ++accepted_;
    connection.thread = std::thread([this, &connection, id] { serve(connection, id); });
  }
}

void ScriptedUpstream::join_ended_connections() {
  std::erase_if(connections_, [](Connection& each) {
    if (each.open) return false;
    each.thread.join();  // it has nothing left to do
    return true;
  });
}

void ScriptedUpstream::serve(Connection& connection, std::size_t id) {
  bool reset = false;
  try {
    serve_requests(connection.socket, id);
  } catch (const WireError& error) {
    reset = error.fault() == Fault::reset;
  }
  const std::lock_guard lock(mutex_);
  connection.open = false;
  if (reset) {
    connection.socket.reset();
  } else {
    connection.socket.close();
  }
}

void ScriptedUpstream::serve_requests(Socket& socket, std::size_t id) {
  WireReader reader(socket);
  socket.send(greeting());
  for (std::size_t number = 1; !stopping(); ++number) {
    reader.set_patience(Milliseconds(-1));
    if (!reader.wait_for_byte()) return;
    Exchange exchange(*this, socket, reader);
    try {
      exchange.request = read_request_head(reader);
    } catch (const WireError& error) {
      const std::lock_guard lock(mutex_);
      garbage_ += std::string(error.what()) + "; ";
      throw;
    }
    exchange.request.connection = id;
    exchange.request.number = number;
    exchange.record_ = record(exchange.request);
    if (body_reading_ == BodyReading::first) exchange.read_body();
    Handler handler;
    {
      const std::lock_guard lock(mutex_);
      handler = handler_;
    }
    handler(exchange);
    if (exchange.request.headers.get("Connection") == "close") return;
  }
}

std::size_t ScriptedUpstream::record(const Request& request) {
  const std::lock_guard lock(mutex_);
  requests_.push_back(request);
  if (requests_.size() > remembered_) {
    requests_.pop_front();
    ++forgotten_;
  }
  return forgotten_ + requests_.size() - 1;
}

void ScriptedUpstream::update(std::size_t record, const Request& request) {
  const std::lock_guard lock(mutex_);
  if (record >= forgotten_) requests_[record - forgotten_] = request;
}

Handler reply(int status, std::string body, Headers headers) {
  return [=](Exchange& exchange) { exchange.respond(status, body, headers); };
}

Handler send_raw(std::string bytes) {
  return [=](Exchange& exchange) { exchange.send(bytes); };
}

Handler send_and_close(std::string bytes) {
  return [=](Exchange& exchange) {
    exchange.send(bytes);
    exchange.close();
  };
}

Handler send_and_reset(std::string bytes) {
  return [=](Exchange& exchange) {
    exchange.send(bytes);
    exchange.reset();
  };
}

Handler never_answer() {
  return [](Exchange& exchange) { exchange.wait_for_close(); };
}

Handler in_turn(std::vector<Handler> handlers) {
  auto next = std::make_shared<std::atomic<std::size_t>>(0);
  return [next, handlers = std::move(handlers)](Exchange& exchange) {
    const std::size_t turn = std::min(next->fetch_add(1), handlers.size() - 1);
    handlers[turn](exchange);
  };
}

Handler after(Gate& gate, Handler then) {
  return [&gate, then = std::move(then)](Exchange& exchange) {
    exchange.hold(gate);
    then(exchange);
  };
}

Handler echo() {
  return [](Exchange& exchange) { exchange.respond(200, exchange.request.body); };
}

}  // namespace holdfast::testing
