#include "holdfast/net/uv_network.h"

#include <netinet/in.h>
#include <uv.h>

#include <algorithm>
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

// One getaddrinfo. The request outlives a LookUp that is destroyed before the answer.
class LookUp {
 public:
  LookUp() = default;
  LookUp(const LookUp&) = delete;
  LookUp& operator=(const LookUp&) = delete;
  ~LookUp();

  /// A negative status: it failed at once. Else `answered` is given, from the loop.
  int start(uv_loop_t* loop, std::string_view host, std::uint16_t port);

  runtime::Signal answered;
  int status = 0;
  std::vector<Address> addresses;

 private:
  struct Request {
    uv_getaddrinfo_t request;
    LookUp* owner;
  };
  static void on_answer(uv_getaddrinfo_t* request, int status, addrinfo* found);
  void take(const addrinfo* found);

  Request* request_ = nullptr;
};

int LookUp::start(uv_loop_t* loop, std::string_view host, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  const std::string name(host);
  const std::string service = std::to_string(port);
  auto request = std::make_unique<Request>();
  request->owner = this;
  request->request.data = request.get();
  const int started = uv_getaddrinfo(loop, &request->request, &LookUp::on_answer, name.c_str(),
                                     service.c_str(), &hints);
  if (started == 0) request_ = request.release();
  return started;
}

LookUp::~LookUp() {
  if (request_ == nullptr) return;
  request_->owner = nullptr;
  // One that still stands in line need not be made. If it has begun it ends by itself.
  uv_cancel(reinterpret_cast<uv_req_t*>(&request_->request));
}

void LookUp::on_answer(uv_getaddrinfo_t* raw, int status, addrinfo* found) {
  const std::unique_ptr<Request> request(static_cast<Request*>(raw->data));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> list(found, &uv_freeaddrinfo);
  LookUp* owner = request->owner;
  if (owner == nullptr) return;
  owner->request_ = nullptr;
  owner->status = status;
  owner->take(found);
  owner->answered.notify();
}

void LookUp::take(const addrinfo* found) {
  for (; found != nullptr; found = found->ai_next) {
    const Address address = Address::from_sockaddr(found->ai_addr, found->ai_addrlen);
    // A name may stand in /etc/hosts more than once.
    const bool known = std::find(addresses.begin(), addresses.end(), address) != addresses.end();
    if (!known) addresses.push_back(address);
  }
}

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

UvNetwork::UvNetwork(runtime::EventLoop& loop)
    : loop_(loop), read_buffer_(std::make_unique_for_overwrite<char[]>(read_buffer_bytes)) {}

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
  LookUp look_up;
  const int started = look_up.start(loop_.uv(), host, port);
  if (started < 0) {
    co_return unexpected(look_up_error(ErrorType::dns_error, host, uv_strerror(started)));
  }
  const bool in_time =
      co_await runtime::wait_for(look_up.answered, loop_.context().timers, deadline);
  if (!in_time)
    co_return unexpected(look_up_error(ErrorType::dns_timeout, host, "no answer in time"));
  if (look_up.status < 0) {
    co_return unexpected(look_up_error(ErrorType::dns_error, host, uv_strerror(look_up.status)));
  }
  if (look_up.addresses.empty()) {
    co_return unexpected(look_up_error(ErrorType::dns_error, host, "no address"));
  }
  co_return std::move(look_up.addresses);
}

}  // namespace holdfast::net
