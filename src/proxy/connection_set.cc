#include "holdfast/proxy/connection_set.h"

#include <vector>

namespace holdfast::proxy {

class ConnectionSet::Registration {
 public:
  Registration(ConnectionSet& set, DownstreamConnection& connection)
      : set_(set), place_(set.live_.insert(set.live_.begin(), Live{&connection})) {}
  Registration(const Registration&) = delete;
  Registration& operator=(const Registration&) = delete;
  ~Registration() {
    set_.live_.erase(place_);
    set_.on_closed_();
  }

 private:
  ConnectionSet& set_;
  std::list<Live>::iterator place_;
};

void ConnectionSet::serve(std::unique_ptr<net::Stream> stream, const std::string& listener) {
  // A task's parameters must not own (runtime/task.h): run() takes the stream over before it first
  // waits.
  const std::size_t before = live_.size();
  runtime::Scope::Entry* entry = scope_.spawn(run(stream.release(), listener));
  if (live_.size() > before) live_.front().entry = entry;
}

runtime::Task<void> ConnectionSet::run(net::Stream* stream, const std::string& listener) {
  DownstreamConnection connection(std::unique_ptr<net::Stream>(stream), listener, handler_,
                                  context_);
  const Registration registration(*this, connection);
  co_await connection.run();
}

void ConnectionSet::close_idle() {
  std::vector<runtime::Scope::Entry*> idle;
  for (const Live& live : live_) {
    if (live.connection->idle() && live.entry != nullptr) idle.push_back(live.entry);
  }
  for (runtime::Scope::Entry* entry : idle) scope_.cancel(entry);
}

}  // namespace holdfast::proxy
