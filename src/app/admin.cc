#include "holdfast/app/admin.h"

#include <algorithm>
#include <iterator>

#include <fmt/format.h>

#include "holdfast/app/admin_pages.h"
#include "holdfast/base/text.h"
#include "holdfast/base/uuid.h"
#include "holdfast/http/problem.h"

namespace holdfast::app {
namespace {

constexpr std::string_view plain_text = "text/plain; charset=utf-8";
constexpr std::string_view prometheus_text = "text/plain; version=0.0.4; charset=utf-8";
constexpr std::string_view json = "application/json";
constexpr std::uint64_t max_admin_body = 4 * 1024;
constexpr Duration body_patience = std::chrono::seconds(5);
constexpr std::size_t short_id_length = 12;

constexpr std::string_view read_methods = "GET, HEAD";
constexpr std::string_view records_path = "/idempotency/";
constexpr std::string_view upstreams_path = "/upstreams/";
constexpr std::string_view plain_paths[] = {"/healthz", "/readyz", "/metrics",
                                            "/config",  "/routes", "/upstreams"};

bool is_read(const http::RequestHead& request) {
  return request.method == http::Method::get || request.method == http::Method::head;
}

bool has_admin_field(const http::RequestHead& request) {
  return std::ranges::any_of(request.fields, [](const http::Field& field) {
    return iequals(field.name, "X-Holdfast-Admin") && field.value == "1";
  });
}

}  // namespace

Admin::Admin(AdminSource source, runtime::Context& context)
    : source_(std::move(source)), context_(context) {
  options_.limits.max_body_bytes = max_admin_body;
}

Admin::Page Admin::problem(int status, std::string_view name, std::string_view title,
                           std::string_view detail) {
  Page page{status, "application/problem+json", {}};
  const Uuid7 id(context_.clock.wall_now(), context_.rng);
  http::append_problem_json(page.body, name, title, status, detail, id.text());
  return page;
}

Admin::Page Admin::method_not_allowed(std::string_view allow) {
  Page page = problem(405, "method-not-allowed", "Method is not allowed",
                      fmt::format("This page takes {}.", allow));
  page.allow = allow;
  return page;
}

Admin::Page Admin::no_page() {
  return problem(404, "no-route", "No such page",
                 "The admin listener has /healthz /readyz /metrics /config /routes /upstreams "
                 "/upstreams/drain /upstreams/undrain /idempotency/{id} /idempotency/resolve.");
}

Admin::Page Admin::no_record() {
  return problem(404, "no-record", "No such record",
                 "The store has no record with this id: it was never made, was given back, or has "
                 "expired.");
}

Admin::Page Admin::store_failed(const store::StoreError& error) {
  return problem(503, "store-unavailable", "Idempotency store unavailable",
                 fmt::format("{}: {}", name(error.kind), error.detail));
}

Admin::Page Admin::plain_page(std::string_view path) {
  if (path == "/healthz") return {200, plain_text, "ok\n"};
  if (path == "/readyz") {
    if (source_.ready()) return {200, plain_text, "ready\n"};
    return {503, plain_text, source_.draining() ? "draining\n" : "starting\n"};
  }
  if (path == "/metrics") return {200, prometheus_text, source_.metrics()};
  if (path == "/config") return {200, json, source_.config()};
  if (path == "/routes") return {200, json, source_.routes()};
  return {200, json, source_.upstreams()};
}

runtime::Task<Admin::Page> Admin::page_for(proxy::Transaction& transaction) {
  const http::RequestHead& request = transaction.request();
  if (!admin_host_allowed(request.authority, source_.hosts())) {
    co_return problem(403, "host-not-allowed", "Host is not allowed",
                      "Ask by IP address or localhost, or name the host in admin.hosts.");
  }
  if (request.path.starts_with(records_path)) co_return co_await record_page_for(transaction);
  if (request.path.starts_with(upstreams_path)) co_return co_await drain_page_for(transaction);
  if (std::ranges::find(plain_paths, request.path) == std::end(plain_paths)) co_return no_page();
  if (!is_read(request)) co_return method_not_allowed(read_methods);
  co_return plain_page(request.path);
}

runtime::Task<Admin::Page> Admin::record_page_for(proxy::Transaction& transaction) {
  const http::RequestHead& request = transaction.request();
  const std::string_view name = request.path.substr(records_path.size());
  if (name == "resolve") {
    co_return co_await resolve_record(transaction);
  }
  if (!is_read(request)) co_return method_not_allowed(read_methods);
  co_return co_await show_record(name);
}

runtime::Task<Admin::Page> Admin::show_record(std::string_view id) {
  const std::optional<Digest> digest = parse_record_id(id);
  if (!digest) {
    co_return problem(400, "bad-request", "Not a record's id",
                      "A record's id is 64 hexadecimal digits.");
  }
  store::Store* const store = source_.store();
  if (store == nullptr) co_return no_record();
  policy::Operation look;
  look.command = policy::Command::inspect;
  look.id = *digest;
  const Result<policy::Verdict, store::StoreError> verdict = co_await store->apply(look);
  if (!verdict) co_return store_failed(verdict.error());
  if (verdict->kind == policy::Verdict::Kind::absent) co_return no_record();
  co_return Page{200, json, record_page(*digest, *verdict)};
}

runtime::Task<Result<std::string_view, Admin::Page>> Admin::take_order(
    proxy::Transaction& transaction) {
  if (transaction.request().method != http::Method::post) {
    co_return unexpected(method_not_allowed("POST"));
  }
  if (!has_admin_field(transaction.request())) {
    co_return unexpected(
        problem(403, "admin-header-missing", "The header X-Holdfast-Admin is missing",
                "What changes anything needs the header \"X-Holdfast-Admin: 1\"."));
  }
  proxy::RequestBody& body = transaction.body();
  body.keep_up_to(max_admin_body);
  while (!body.complete()) {
    const auto pulled = co_await body.pull(body_patience);
    if (pulled) continue;
    const http::RequestError& error = pulled.error().error;
    co_return unexpected(problem(status_of(error.problem), http::name(error.problem),
                                 http::title(error.problem), error.detail));
  }
  co_return body.kept();
}

runtime::Task<Admin::Page> Admin::drain_page_for(proxy::Transaction& transaction) {
  const std::string_view action = transaction.request().path.substr(upstreams_path.size());
  if (action != "drain" && action != "undrain") co_return no_page();
  Result<std::string_view, Page> order = co_await take_order(transaction);
  if (!order) co_return std::move(order.error());
  const Result<DrainTarget, std::string> target = parse_drain_target(*order);
  if (!target) co_return problem(400, "bad-request", "Not an endpoint", target.error());
  switch (source_.drain(*target, action == "drain")) {
    case DrainOutcome::done:
      break;
    case DrainOutcome::no_endpoint:
      co_return problem(404, "no-endpoint", "No such endpoint",
                        "No upstream of this name has this endpoint; /upstreams lists them.");
    case DrainOutcome::chosen_by_requests:
      co_return problem(409, "chosen-by-requests", "Requests choose where they go",
                        "Requests of this upstream go to what they name, and a destination is "
                        "forgotten, its state and all, when it makes room for another, and with a "
                        "reload. Give the host an upstream and a route of its own to take it out.");
  }
  co_return Page{200, json, source_.upstreams()};
}

runtime::Task<Admin::Page> Admin::resolve_record(proxy::Transaction& transaction) {
  Result<std::string_view, Page> order = co_await take_order(transaction);
  if (!order) co_return std::move(order.error());
  const Result<Resolution, std::string> resolution = parse_resolution(*order);
  if (!resolution) {
    co_return problem(400, "bad-request", "Not a resolution", resolution.error());
  }
  store::Store* const store = source_.store();
  if (store == nullptr) co_return no_record();
  co_return co_await apply_resolution(*store, *resolution);
}

runtime::Task<Admin::Page> Admin::apply_resolution(store::Store& store,
                                                   const Resolution& resolution) {
  using Kind = policy::Verdict::Kind;
  policy::Operation operation;
  operation.id = resolution.id;
  operation.command = policy::Command::inspect;
  // A record that was not executed is absent afterwards; so that a wrong id does not read as
  // success, look first.
  const Result<policy::Verdict, store::StoreError> before = co_await store.apply(operation);
  if (!before) co_return store_failed(before.error());
  if (before->kind == Kind::absent) co_return no_record();

  operation.command = policy::Command::resolve;
  operation.executed = resolution.executed;
  operation.ttl = std::chrono::ceil<policy::Milliseconds>(source_.resolved_ttl());
  const Result<policy::Verdict, store::StoreError> verdict = co_await store.apply(operation);
  if (!verdict) co_return store_failed(verdict.error());
  if (verdict->kind == Kind::refused) {
    co_return problem(409, "not-unknown", "The record is not unknown",
                      fmt::format("The record is {}; only an unknown outcome can be resolved.",
                                  name(verdict->state)));
  }
  const bool done = verdict->kind == (resolution.executed ? Kind::gone : Kind::absent);
  if (!done) co_return no_record();
  source_.resolved(hex(resolution.id).substr(0, short_id_length), resolution.executed);
  co_return Page{200, json, record_page(resolution.id, *verdict)};
}

runtime::Task<void> Admin::handle(proxy::Transaction& transaction) {
  const Page page = co_await page_for(transaction);
  proxy::OwnResponse response;
  response.status = page.status;
  response.content_type = page.content_type;
  response.body = page.body;
  response.allow = page.allow;
  co_await transaction.respond(response);
}

}  // namespace holdfast::app
