// The admin listener: /healthz /readyz /metrics /config /routes /upstreams, and the idempotency
// records, on the main thread's loop.
//
//   GET  /idempotency/{id}     what became of a record (admin_records.h): 400 for no id,
//                              404 without a record
//   POST /idempotency/resolve  a person says what became of an unknown one: 409 if it is not
//   POST /upstreams/drain      takes an endpoint out of service (admin_drain.h), whatever it is
//        /upstreams/undrain    otherwise, and puts it back: 404 for one that there is not, 409
//                              where requests choose where they go
//
// Contract: a Handler like the proxy's, so the wire is read by the same parser under the same
// limits. A Host that is no IP literal, not localhost and not in admin.hosts gets 403: a web page
// that rebinds its name to this address must not read it. Answers are made when they are asked for;
// nothing is cached. What changes anything needs POST and `X-Holdfast-Admin: 1`, which no form of a
// web page can send. A store that fails is a 503.
// Limits: 4 KiB for a request's body.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/app/admin_drain.h"
#include "holdfast/app/admin_records.h"
#include "holdfast/proxy/downstream.h"
#include "holdfast/store/store.h"

namespace holdfast::app {

/// What the admin listener asks the program for.
struct AdminSource {
  std::function<bool()> ready;
  std::function<bool()> draining;
  std::function<std::string()> metrics;
  std::function<std::string()> config;
  std::function<std::string()> routes;
  std::function<std::string()> upstreams;
  /// Takes an endpoint out of service or puts it back (drain_endpoint()).
  std::function<DrainOutcome(const DrainTarget& target, bool draining)> drain;
  std::function<std::vector<std::string>()> hosts;
  /// Of this loop; nullptr where no route keeps records.
  std::function<store::Store*()> store;
  std::function<Duration()> resolved_ttl;
  /// A record was resolved by hand; `id` is its first 12 hex digits.
  std::function<void(std::string_view id, bool executed)> resolved;
};

class Admin final : public proxy::Handler {
 public:
  Admin(AdminSource source, runtime::Context& context);

  runtime::Task<void> handle(proxy::Transaction& transaction) override;
  void refused(proxy::Transaction&, const http::RequestError&, std::string_view) override {}
  const proxy::DownstreamOptions& options() const override { return options_; }
  bool draining() const override { return source_.draining(); }

 private:
  struct Page {
    int status = 200;
    std::string_view content_type = "application/json";
    std::string body;
    std::string_view allow = {};  // the methods, for 405
  };
  runtime::Task<Page> page_for(proxy::Transaction& transaction);
  runtime::Task<Page> record_page_for(proxy::Transaction& transaction);
  runtime::Task<Page> show_record(std::string_view id);
  runtime::Task<Page> resolve_record(proxy::Transaction& transaction);
  runtime::Task<Page> drain_page_for(proxy::Transaction& transaction);
  /// The body of a request that changes something, or what is to be answered to it.
  runtime::Task<Result<std::string_view, Page>> take_order(proxy::Transaction& transaction);
  runtime::Task<Page> apply_resolution(store::Store& store, const Resolution& resolution);
  Page plain_page(std::string_view path);
  Page problem(int status, std::string_view name, std::string_view title, std::string_view detail);
  Page method_not_allowed(std::string_view allow);
  Page no_page();
  Page no_record();
  Page store_failed(const store::StoreError& error);

  AdminSource source_;
  runtime::Context& context_;
  proxy::DownstreamOptions options_;
};

}  // namespace holdfast::app
