// ConnectionSet: the client connections of one loop: it serves each until it ends.
//
// Contract: single-threaded. drain() closes those that are idle and lets the others finish (their
// handler says Connection: close while draining); cut() ends them all at once. The destructor cuts.
#pragma once

#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <string>

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

  /// `listener`, the name it is known by, outlives the connection.
  void serve(std::unique_ptr<net::Stream> stream, const std::string& listener);
  void serve(std::unique_ptr<net::Stream> stream, std::string&& listener) = delete;
  /// Closes what is between two requests. From the loop, never from a connection's own stack.
  void close_idle();
  void cut() { scope_.cancel_all(); }

  std::size_t size() const { return live_.size(); }

 private:
  struct Live {
    DownstreamConnection* connection;
    runtime::Scope::Entry* entry = nullptr;
  };
  class Registration;

  runtime::Task<void> run(net::Stream* stream, const std::string& listener);

  Handler& handler_;
  runtime::Context& context_;
  std::function<void()> on_closed_;
  std::list<Live> live_;
  runtime::Scope scope_;
};

}  // namespace holdfast::proxy
