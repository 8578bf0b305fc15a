#include "holdfast/net/uv_network.h"

#include <uv.h>

#include <string>
#include <utility>

#include "holdfast/base/assert.h"
#include "holdfast/net/uv_stream.h"

namespace holdfast::net {
namespace {

thread_local std::size_t handle_count = 0;

ErrorType connect_error_type(int status) {
  switch (status) {
    case UV_ETIMEDOUT:
      return ErrorType::connection_timeout;
    case UV_EMFILE:
    case UV_ENFILE:
    case UV_ENOBUFS:
    case UV_ENOMEM:
      return ErrorType::connection_limit_reached;
    case UV_ECONNREFUSED:
    case UV_ECONNRESET:
    case UV_ENOENT:    // no such unix socket
    case UV_ENOTSOCK:  // nor is it one
    case UV_EAGAIN:    // its queue is full
    case UV_ENOTDIR:
      return ErrorType::connection_refused;
    default:
      return ErrorType::destination_ip_unroutable;
  }
}

Error connect_error(int status, const Address& address) {
  return {connect_error_type(status), address.text() + ": " + uv_strerror(status)};
}

/// What a look-up's thread leaves on the loop for the task that waits.
struct Waiting {
  runtime::Signal answered;
  std::shared_ptr<const NameService::Answer> answer;
};

/// Nulls what other threads hold of a frame when the frame goes.
class Reach {
 public:
  explicit Reach(Waiting& waiting) : cell_(std::make_shared<Waiting*>(&waiting)) {}
  Reach(const Reach&) = delete;
  Reach& operator=(const Reach&) = delete;
  ~Reach() { *cell_ = nullptr; }
  const std::shared_ptr<Waiting*>& cell() const { return cell_; }

 private:
  std::shared_ptr<Waiting*> cell_;
};

Error look_up_error(ErrorType type, std::string_view host, std::string_view reason) {
  return {type, std::string(host) + ": " + std::string(reason)};
}

}  // namespace

std::size_t live_handles() {
  return handle_count;
}
LiveHandle::LiveHandle() {
  ++handle_count;
}
LiveHandle::~LiveHandle() {
  --handle_count;
}

UvNetwork::UvNetwork(runtime::EventLoop& loop, std::shared_ptr<NameService> names)
    : loop_(loop),
      names_(std::move(names)),
      read_buffer_(std::make_unique_for_overwrite<char[]>(read_buffer_bytes)) {}

UvNetwork::~UvNetwork() = default;

runtime::Task<Result<std::unique_ptr<Stream>>> UvNetwork::connect(const Address& address,
                                                                  TimePoint deadline) {
  UvStream::Connecting connecting;  // outlives the stream below
  auto stream = std::make_unique<UvStream>(*this, address.family());
  const int started = stream->start_connect(address, connecting);
  if (started < 0) co_return unexpected(connect_error(started, address));

  const bool in_time =
      co_await runtime::wait_for(connecting.ended, loop_.context().timers, deadline);
  if (!in_time) co_return unexpected(connect_error(UV_ETIMEDOUT, address));
  if (connecting.status < 0) co_return unexpected(connect_error(connecting.status, address));
  stream->established(address);
  co_return std::unique_ptr<Stream>(std::move(stream));
}

runtime::Task<Result<std::vector<Address>>> UvNetwork::resolve(std::string_view host,
                                                               std::uint16_t port,
                                                               TimePoint deadline) {
  return look_up(host, port, deadline, NameService::Wish::configured);
}

runtime::Task<Result<std::vector<Address>>> UvNetwork::ClientsNames::resolve(std::string_view host,
                                                                             std::uint16_t port,
                                                                             TimePoint deadline) {
  return network_.look_up(host, port, deadline, NameService::Wish::of_client);
}

runtime::Task<Result<std::vector<Address>>> UvNetwork::look_up(std::string_view host,
                                                               std::uint16_t port,
                                                               TimePoint deadline,
                                                               NameService::Wish wish) {
  Waiting waiting;
  const Reach reach(waiting);
  const auto on_answer = [post = loop_.context().post,
                          cell = reach.cell()](std::shared_ptr<const NameService::Answer> answer) {
    post([cell, answer = std::move(answer)] {
      if (*cell == nullptr) return;  // nobody waits any more
      (*cell)->answer = answer;
      (*cell)->answered.notify();
    });
  };
  const NameService::Asker asker(*names_, host, wish, on_answer);
  const bool in_time =
      co_await runtime::wait_for(waiting.answered, loop_.context().timers, deadline);
  if (!in_time) {
    co_return unexpected(look_up_error(ErrorType::dns_timeout, host, "no answer in time"));
  }
  if (!*waiting.answer && waiting.answer->error() == NameService::refusal) {
    Error refused = look_up_error(ErrorType::connection_limit_reached, host, NameService::refusal);
    refused.local = true;
    co_return unexpected(std::move(refused));
  }
  if (!*waiting.answer) {
    co_return unexpected(look_up_error(ErrorType::dns_error, host, waiting.answer->error()));
  }
  std::vector<Address> addresses;
  for (const Address& address : **waiting.answer) addresses.push_back(address.with_port(port));
  co_return std::move(addresses);
}

}  // namespace holdfast::net
