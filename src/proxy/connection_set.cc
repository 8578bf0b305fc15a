#include "holdfast/proxy/connection_set.h"

#include <algorithm>
#include <vector>

#include "holdfast/net/tls.h"
#include "holdfast/policy/timeout.h"

namespace holdfast::proxy {

class ConnectionSet::Registration {
 public:
  explicit Registration(ConnectionSet& set)
      : set_(set), place_(set.live_.insert(set.live_.begin(), Live{})) {}
  Registration(const Registration&) = delete;
  Registration& operator=(const Registration&) = delete;
  ~Registration() {
    set_.live_.erase(place_);
    set_.on_closed_();
  }

  Live& live() const { return *place_; }

 private:
  ConnectionSet& set_;
  std::list<Live>::iterator place_;
};

void ConnectionSet::serve(std::unique_ptr<net::Stream> stream, const std::string& listener,
                          net::TlsSession tls) {
  // A task's parameters must not own (runtime/task.h): run() takes them over before it first waits.
  const std::size_t before = live_.size();
  runtime::Scope::Entry* entry = scope_.spawn(run(stream.release(), listener, tls.release()));
  if (live_.size() > before) live_.front().entry = entry;
}

runtime::Task<void> ConnectionSet::run(net::Stream* accepted, const std::string& listener,
                                       ssl_st* tls) {
  std::unique_ptr<net::Stream> stream(accepted);
  net::TlsSession session(tls);
  const Registration registration(*this);
  if (session != nullptr) {
    const TimePoint deadline =
        policy::deadline_after(context_.now(), handler_.options().header_timeout);
    Result<std::unique_ptr<net::Stream>> shaken =
        co_await net::tls_accept(stream, session, deadline, context_);
    if (!shaken) {
      handler_.handshake_failed(listener, shaken.error());
      co_return;
    }
    stream = std::move(*shaken);
  }
  co_await serve_requests(stream, listener, registration.live());
}

runtime::Task<void> ConnectionSet::serve_requests(std::unique_ptr<net::Stream>& stream,
                                                  const std::string& listener, Live& live) {
  DownstreamConnection connection(std::move(stream), listener, handler_, context_);
  live.connection = &connection;
  co_await connection.run();
  live.connection = nullptr;
}

bool ConnectionSet::is_idle(const Live& live) {
  return live.connection != nullptr && live.connection->idle() && live.entry != nullptr;
}

void ConnectionSet::close_idle() {
  std::vector<runtime::Scope::Entry*> idle;
  for (const Live& live : live_) {
    if (is_idle(live)) idle.push_back(live.entry);
  }
  for (runtime::Scope::Entry* entry : idle) scope_.cancel(entry);
}

bool ConnectionSet::close_oldest_idle() {
  const auto oldest = std::find_if(live_.rbegin(), live_.rend(), is_idle);  // new ones come first
  if (oldest == live_.rend()) return false;
  scope_.cancel(oldest->entry);
  return true;
}

}  // namespace holdfast::proxy
