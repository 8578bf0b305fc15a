#include "holdfast/app/admin.h"

#include "holdfast/app/admin_pages.h"
#include "holdfast/http/problem.h"

namespace holdfast::app {
namespace {

constexpr std::string_view plain_text = "text/plain; charset=utf-8";
constexpr std::string_view prometheus_text = "text/plain; version=0.0.4; charset=utf-8";
constexpr std::uint64_t max_admin_body = 64 * 1024;

}  // namespace

Admin::Admin(AdminSource source, runtime::Context& context)
    : source_(std::move(source)), context_(context) {
  options_.limits.max_body_bytes = max_admin_body;
}

Admin::Page Admin::problem(int status, std::string_view name, std::string_view title,
                           std::string_view detail) {
  Page page{status, "application/problem+json", {}};
  request_id_.emplace(context_.clock.wall_now(), context_.rng);
  http::append_problem_json(page.body, name, title, status, detail, request_id_->text());
  return page;
}

Admin::Page Admin::page_for(const http::RequestHead& request) {
  if (!admin_host_allowed(request.authority, source_.hosts())) {
    return problem(403, "host-not-allowed", "Host is not allowed",
                   "Ask by IP address or localhost, or name the host in admin.hosts.");
  }
  const std::string_view path = request.path;
  const bool known = path == "/healthz" || path == "/readyz" || path == "/metrics" ||
                     path == "/config" || path == "/routes" || path == "/upstreams";
  if (!known) {
    return problem(404, "no-route", "No such page",
                   "The admin listener has /healthz /readyz /metrics /config /routes /upstreams.");
  }
  if (request.method != http::Method::get && request.method != http::Method::head) {
    return problem(405, "method-not-allowed", "Method is not allowed",
                   "This page is read with GET.");
  }
  if (path == "/healthz") return {200, plain_text, "ok\n"};
  if (path == "/readyz") {
    if (source_.ready()) return {200, plain_text, "ready\n"};
    return {503, plain_text, source_.draining() ? "draining\n" : "starting\n"};
  }
  if (path == "/metrics") return {200, prometheus_text, source_.metrics()};
  if (path == "/config") return {200, "application/json", source_.config()};
  if (path == "/routes") return {200, "application/json", source_.routes()};
  return {200, "application/json", source_.upstreams()};
}

runtime::Task<void> Admin::handle(proxy::Transaction& transaction) {
  const Page page = page_for(transaction.request());
  proxy::OwnResponse response;
  response.status = page.status;
  response.content_type = page.content_type;
  response.body = page.body;
  if (page.status == 405) response.allow = "GET, HEAD";
  co_await transaction.respond(response);
}

void Admin::refused(proxy::Transaction&, const http::RequestHead*, const http::RequestError&) {
  request_id_.emplace(context_.clock.wall_now(), context_.rng);
}

std::string_view Admin::request_id(proxy::Transaction&) {
  return request_id_->text();
}

}  // namespace holdfast::app
