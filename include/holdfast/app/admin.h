// The admin listener: /healthz /readyz /metrics /config /routes /upstreams, on the main thread's
// loop.
//
// Contract: a Handler like the proxy's, so the wire is read by the same parser under the same
// limits. A Host that is no IP literal, not localhost and not in admin.hosts gets 403: a web page
// that rebinds its name to this address must not read it. Answers are made when they are asked for;
// nothing is cached.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/base/uuid.h"
#include "holdfast/proxy/downstream.h"

namespace holdfast::app {

/// What the admin listener asks the program for.
struct AdminSource {
  std::function<bool()> ready;
  std::function<bool()> draining;
  std::function<std::string()> metrics;
  std::function<std::string()> config;
  std::function<std::string()> routes;
  std::function<std::string()> upstreams;
  std::function<std::vector<std::string>()> hosts;
};

class Admin final : public proxy::Handler {
 public:
  Admin(AdminSource source, runtime::Context& context);

  runtime::Task<void> handle(proxy::Transaction& transaction) override;
  void refused(proxy::Transaction& transaction, const http::RequestHead* head,
               const http::RequestError& error) override;
  std::string_view request_id(proxy::Transaction& transaction) override;
  const proxy::DownstreamOptions& options() const override { return options_; }
  bool draining() const override { return source_.draining(); }

 private:
  struct Page {
    int status = 200;
    std::string_view content_type = "application/json";
    std::string body;
  };
  Page page_for(const http::RequestHead& request);
  Page problem(int status, std::string_view name, std::string_view title, std::string_view detail);

  AdminSource source_;
  runtime::Context& context_;
  proxy::DownstreamOptions options_;
  std::optional<Uuid7> request_id_;
};

}  // namespace holdfast::app
