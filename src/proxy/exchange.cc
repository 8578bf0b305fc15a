#include "holdfast/proxy/exchange.h"

#include <algorithm>
#include <utility>

#include "holdfast/base/text.h"
#include "holdfast/http/problem.h"
#include "holdfast/net/tls_identity.h"
#include "holdfast/policy/timeout.h"
#include "holdfast/proxy/destination.h"

namespace holdfast::proxy {
namespace {

/// A loop is our own name this often in Via (wire.md).
constexpr int max_times_in_via = 10;

}  // namespace

Exchange::Exchange(Transaction& transaction, Generation& generation, Services& services)
    : transaction_(transaction), generation_(generation), services_(services) {
  generation_.pin();
  const std::string_view given = transaction_.request().fields.value(http::FieldName::x_request_id);
  if (transaction_.request().fields.count(http::FieldName::x_request_id) == 1 &&
      is_request_id(given)) {
    request_id_ = given;
  } else {
    made_request_id_.emplace(services_.context.clock.wall_now(), services_.context.rng);
    request_id_ = made_request_id_->text();
  }
}

Exchange::~Exchange() {
  const http::RequestHead& request = transaction_.request();
  ExchangeRecord record;
  const Cluster* cluster = nullptr;
  if (route_ != nullptr) {
    record.route = route_->slot;
    record.route_name = route_->config->name;
    cluster = route_->cluster;
  }
  record.method = request.method;
  record.method_text = request.method_text;
  record.path = request.path;
  record.status = transaction_.status();
  record.error = error_name_;
  const Attempts* attempts = attempts_ ? &*attempts_ : nullptr;
  if (execution_ != nullptr && execution_->has_attempts()) attempts = &execution_->attempts();
  if (attempts != nullptr) {
    if (attempts->cluster() != nullptr) cluster = attempts->cluster();
    record.endpoint = attempts->endpoint();
    record.attempts = attempts->count();
    if (record.error.empty()) record.error = attempts->error_name();
  }
  if (cluster != nullptr) {
    record.upstream = cluster->config().name;
    record.breaker = policy::name(cluster->shared().breaker_state());
  }
  record.idempotency = key_outcome_;
  record.idempotency_id = std::string_view(key_id_).substr(0, 12);
  record.fallback = fell_back_;
  record.bytes_in = transaction_.body().received() + tunnelled_.to_upstream;
  record.bytes_out = transaction_.bytes_out() + tunnelled_.to_client;
  record.request_id = request_id_;
  record.trace_id = trace_id_of(request.fields.value(http::FieldName::traceparent));
  record.client = transaction_.client();
  record.started = transaction_.started_wall();
  record.duration = now() - transaction_.started();
  if (request.dropped_fields > 0) services_.observer.headers_dropped(request.dropped_fields);
  services_.observer.exchange_finished(record);
  leave_execution();
  generation_.unpin();
}

/// The stage that answers: this one only chooses it.
runtime::Task<void> Exchange::run() {
  const http::RequestHead& request = transaction_.request();
  // What goes through a tunnel may ask for any path.
  const std::string_view path = is_connect() ? std::string_view("/") : request.path;
  const RouteTable::Input input{transaction_.listener(), request.authority,   path,
                                request.method,          request.method_text, request.fields};
  const int index = generation_.routes().match(input);
  if (index >= 0) route_ = &generation_.route(index);
  // Nothing that comes behind a CONNECT is a request, whatever becomes of it.
  if (is_connect()) transaction_.close_after();
  // What has arrived is judged before it is answered, by whomever.
  if (const auto& failure = transaction_.body().early_failure()) return refuse(failure->error);
  if (const auto wrong = misdirected()) return refuse(*wrong);
  if (index < 0 && !is_connect()) {
    return refuse({http::Problem::no_route, "no route matches the request"});
  }
  if (is_connect() || generation_.is_dynamic(index)) {
    if (!find_way(index)) {
      return refuse({http::Problem::destination_not_allowed,
                     "no route and no listener.allow covers this host and port"});
    }
    if (route_ == nullptr) return answer_crowd();
  }
  if (request.method == http::Method::options &&
      parse_decimal(request.fields.value(http::FieldName::max_forwards)) == 0) {
    return answer_options();
  }
  if (route_->config->respond) return answer_static(*route_->config->respond, "");
  if (request.fields.has(http::FieldName::via) &&
      times_in_via(request.fields, generation_.config().server.name) >= max_times_in_via) {
    return answer_loop();
  }
  if (!prepare()) {
    return refuse(
        {http::Problem::bad_request, "the deadline header is not a number of milliseconds"});
  }
  return wants_key() && !is_connect() ? keyed() : proxied();
}

/// A request at a listener that is not for its kind.
std::optional<http::RequestError> Exchange::misdirected() const {
  const bool forward = generation_.is_forward(transaction_.listener());
  if (is_connect() && !forward) {
    return http::RequestError{http::Problem::method_not_allowed, "the method is not allowed"};
  }
  if (!forward || is_connect() || transaction_.request().absolute) return std::nullopt;
  return http::RequestError{
      http::Problem::bad_request,
      "this listener is an HTTP proxy: the target must be a whole URI such as "
      "http://host/path, not a path"};
}

/// Makes the route lead to what the request names. False: that may not be asked for. Without a
/// route afterwards there are too many destinations at once.
bool Exchange::find_way(int matched) {
  const auto way = way_to(generation_.config(), transaction_.listener(), matched,
                          transaction_.request().authority, is_connect());
  if (!way) return false;
  route_ = generation_.route_to(way->route, way->destination, is_connect());
  if (route_ != nullptr) route_pin_.hold(*route_);
  return true;
}

runtime::Task<void> Exchange::answer_crowd() {
  const Error error{ErrorType::connection_limit_reached,
                    "too many destinations are asked for at one time", true};
  co_await answer_error(error, std::nullopt);
}

runtime::Task<void> Exchange::refuse(const http::RequestError& error) {
  refusal_ = error;
  return answer_problem(*refusal_);
}

/// RFC 9110 §7.6.2: the last recipient answers by itself.
runtime::Task<void> Exchange::answer_options() {
  OwnResponse response;
  response.status = 204;
  response.allow = "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH";
  co_await transaction_.respond(response);
}

runtime::Task<void> Exchange::answer_loop() {
  const Error error{ErrorType::proxy_loop_detected, "the request has come through here too often"};
  co_await answer_error(error, std::nullopt);
}

/// Reads what the route needs of the request. False: its deadline header is malformed.
bool Exchange::prepare() {
  const policy::TimeoutOptions& timeout = route_->config->timeout;
  if (!timeout.deadline_header.empty()) {
    for (const http::Field& field : transaction_.request().fields) {
      if (!iequals(field.name, timeout.deadline_header)) continue;
      if (client_deadline_) return false;  // two lines: which of them is meant?
      client_deadline_ = policy::parse_deadline(field.value);
      if (!client_deadline_) return false;
    }
  }
  route_->cluster->shared().record_request(now());
  return true;
}

Outgoing Exchange::outgoing() {
  Outgoing outgoing{transaction_.request(), transaction_.body(), request_id_};
  outgoing.client = &transaction_;
  if (const net::ClientIdentity* client = transaction_.stream().client_identity()) {
    outgoing.over_tls = true;
    outgoing.client_certificate = client->forwarded;
  }
  const net::Address& peer = transaction_.stream().peer();
  if (!peer.is_unix()) outgoing.client_ip = transaction_.client();
  outgoing.client_trusted =
      std::ranges::any_of(generation_.config().server.trusted_proxies,
                          [&](const net::Cidr& range) { return range.contains(peer); });
  return outgoing;
}

runtime::Task<void> Exchange::proxied() {
  transaction_.body().keep_up_to(route_->config->retry.body_limit);
  const Outgoing request = outgoing();
  attempts_.emplace(generation_, *route_, request, client_deadline_, transaction_.started(),
                    services_);
  co_await attempts_->run();
  co_await conclude();
}

/// What the attempts came to, for the client: an answer, a fallback or an error.
runtime::Task<void> Exchange::conclude() {
  Attempt& result = attempts_->outcome();
  if (result.client_failure) {
    if (result.client_failure->client_gone) co_return;
    const http::RequestError error = result.client_failure->error;
    result.lease.close();
    co_await answer_problem(error);
    co_return;
  }
  if (is_connect()) {
    if (!result.error) {
      co_await open_tunnel(result);
    } else {
      const Error failure = *result.error;
      co_await answer_error(failure, result.retry_after);
    }
    co_return;
  }
  if (!result.error && !fallback_listed()) {
    const bool answered = co_await deliver(result, "", nullptr);
    if (answered) co_return;
  }
  const bool fell_back = co_await fall_back();
  if (fell_back) co_return;
  if (!result.error) {
    const bool answered = co_await deliver(result, "", nullptr);
    if (answered) co_return;
  }
  const Error error = *result.error;
  const std::optional<Duration> retry_after = result.retry_after;
  co_await answer_error(error, retry_after);
}

}  // namespace holdfast::proxy
