#include "holdfast/proxy/health_checker.h"

#include <algorithm>
#include <vector>

#include "holdfast/http/parser.h"
#include "holdfast/net/tls.h"

namespace holdfast::proxy {
namespace {

std::string request_for(const EndpointConfig& config, const policy::HealthOptions& options) {
  return "GET " + options.path + " HTTP/1.1\r\nHost: " + config.endpoint.authority() +
         "\r\nUser-Agent: holdfast/health-check\r\nAccept: */*\r\nConnection: close\r\n\r\n";
}

/// Between nine and eleven tenths of it.
Duration spread(Duration interval, Rng& rng) {
  const Duration tenth = interval / 10;
  const auto drawn = rng.below(static_cast<std::uint64_t>(2 * tenth.count()) + 1);
  return interval - tenth + Duration(static_cast<Duration::rep>(drawn));
}

}  // namespace

class HealthCheckers::Checker {
 public:
  Checker(HealthCheckers& owner, std::shared_ptr<SharedUpstream> upstream, EndpointMember member,
          policy::HealthOptions options)
      : owner_(owner),
        upstream_(std::move(upstream)),
        member_(std::move(member)),
        options_(std::move(options)) {}

  void start() {
    running_ = run();
    running_.start();
  }
  /// True if what it asks, and how, is still what is wanted.
  bool serves(const EndpointMember& member, const policy::HealthOptions& options) const {
    return options_ == options && member_.config.credentials == member.config.credentials;
  }

 private:
  runtime::Task<void> run();
  runtime::Task<Result<int, Error>> check(TimePoint deadline);
  runtime::Task<Result<std::unique_ptr<net::Stream>>> open(TimePoint deadline);
  runtime::Task<Result<net::Address, Error>> find_address(TimePoint deadline);
  runtime::Task<Result<int, Error>> ask(net::Stream& stream, TimePoint deadline);
  TimePoint now() const { return owner_.context_.now(); }

  HealthCheckers& owner_;
  const std::shared_ptr<SharedUpstream> upstream_;
  const EndpointMember member_;
  const policy::HealthOptions options_;
  runtime::Task<void> running_;
};

runtime::Task<void> HealthCheckers::Checker::run() {
  for (;;) {
    const TimePoint began = now();
    const TimePoint deadline = after(began, options_.timeout);
    Result<int, Error> status = co_await check(deadline);
    const bool passed = status && *status >= 200 && *status < 300;
    const std::string what =
        status ? std::to_string(*status) : std::string(name(status.error().type));
    upstream_->endpoints().checked(*member_.shared, passed, what, now());
    const TimePoint next = after(began, spread(options_.interval, owner_.context_.rng));
    co_await runtime::sleep_until(owner_.context_.timers, next);
  }
}

runtime::Task<Result<int, Error>> HealthCheckers::Checker::check(TimePoint deadline) {
  Result<std::unique_ptr<net::Stream>> stream = co_await open(deadline);
  if (!stream) co_return unexpected(std::move(stream.error()));
  net::Stream& connected = **stream;
  Result<int, Error> status = co_await ask(connected, deadline);
  // The rest of the answer is not wanted, and who closes first would keep a port in TIME_WAIT.
  connected.abort();
  co_return status;
}

/// As a pool connects, but that no session is resumed: a check is to find out what is new.
runtime::Task<Result<std::unique_ptr<net::Stream>>> HealthCheckers::Checker::open(
    TimePoint deadline) {
  Result<net::Address, Error> address = co_await find_address(deadline);
  if (!address) co_return unexpected(std::move(address.error()));
  Result<std::unique_ptr<net::Stream>> plain =
      co_await owner_.connector_.connect(*address, deadline);
  if (!plain || member_.config.credentials == nullptr) co_return std::move(plain);
  const std::shared_ptr<const net::TlsClientContext> tls = member_.config.credentials->current();
  co_return co_await net::tls_connect(*plain, *tls, member_.config.endpoint.host, deadline,
                                      owner_.context_);
}

runtime::Task<Result<net::Address, Error>> HealthCheckers::Checker::find_address(
    TimePoint deadline) {
  const net::Endpoint& endpoint = member_.config.endpoint;
  if (member_.address) co_return *member_.address;
  if (endpoint.address) co_return *endpoint.address;
  Result<std::vector<net::Address>> found =
      co_await owner_.resolver_.resolve(endpoint.host, endpoint.port, deadline);
  if (!found) co_return unexpected(std::move(found.error()));
  if (found->empty()) co_return unexpected(Error{ErrorType::dns_error, "no address"});
  co_return found->front();
}

runtime::Task<Result<int, Error>> HealthCheckers::Checker::ask(net::Stream& stream,
                                                               TimePoint deadline) {
  http::ResponseParser parser{http::ParserLimits{}};
  parser.begin(http::Method::get, false);
  stream.send(request_for(member_.config, options_));
  for (;;) {
    if (stream.input().empty()) {
      if (!stream.open_for_input()) break;
      const bool in_time = co_await stream.until_input(deadline);
      if (in_time) continue;
      co_return unexpected(Error{ErrorType::http_response_timeout, "no answer came in time"});
    }
    Result<http::ParseStep, Error> step = parser.parse(stream.input());
    if (!step) co_return unexpected(std::move(step.error()));
    stream.consume(step->consumed);
    if (step->event != http::ParseEvent::head || parser.head().informational()) continue;
    co_return parser.head().status;
  }
  co_return unexpected(Error{ErrorType::connection_terminated, "it closed without an answer"});
}

HealthCheckers::HealthCheckers(SharedUpstreams& upstreams, runtime::Context& context,
                               net::Connector& connector, net::Resolver& resolver)
    : upstreams_(upstreams), context_(context), connector_(connector), resolver_(resolver) {}

HealthCheckers::~HealthCheckers() = default;

void HealthCheckers::sync() {
  std::map<const SharedEndpoint*, std::unique_ptr<Checker>> next;
  std::vector<Checker*> fresh;
  for (const auto& upstream : upstreams_.all()) {
    const policy::HealthOptions options = upstream->endpoints().health();
    if (!options.enabled()) continue;
    for (const EndpointMember& member : upstream->endpoints().members()->list) {
      auto kept = checkers_.extract(member.shared.get());
      if (!kept.empty() && kept.mapped()->serves(member, options)) {
        next.insert(std::move(kept));
        continue;
      }
      auto checker = std::make_unique<Checker>(*this, upstream, member, options);
      fresh.push_back(checker.get());
      next.emplace(member.shared.get(), std::move(checker));
    }
  }
  checkers_ = std::move(next);
  for (Checker* checker : fresh) checker->start();
}

}  // namespace holdfast::proxy
