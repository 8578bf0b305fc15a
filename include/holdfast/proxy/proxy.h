// Proxy: holdfast's main job on one worker: the Handler that turns each request into an Exchange
// under the configuration in use.
//
// Contract: single-threaded. adopt() puts a configuration into use for the requests that begin
// afterwards; those in flight keep theirs. REQUIRES: adopt() was called before the first connection
// is served.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "holdfast/proxy/cluster.h"
#include "holdfast/proxy/downstream.h"

namespace holdfast::proxy {

class Proxy final : public Handler {
 public:
  explicit Proxy(Services& services) : services_(services) {}
  ~Proxy() override;

  void adopt(std::shared_ptr<const PublishedConfig> published);
  /// From now on every answer closes its connection.
  void drain() { draining_ = true; }

  runtime::Task<void> handle(Transaction& transaction) override;
  void refused(Transaction& transaction, const http::RequestError& error,
               std::string_view request_id) override;
  void handshake_failed(const std::string& listener, const Error& error) override {
    services_.observer.handshake_failed(listener, error);
  }
  const DownstreamOptions& options() const override { return current_->downstream(); }
  bool takes_tunnels(std::string_view listener) const override {
    return current_->is_forward(listener);
  }
  bool draining() const override { return draining_; }

  /// Configurations that are alive: one, and those that exchanges in flight began with.
  std::size_t generations() const { return earlier_.size() + (current_ ? 1 : 0); }

 private:
  void forget_unused();

  Services& services_;
  std::unique_ptr<Generation> current_;
  std::vector<std::unique_ptr<Generation>> earlier_;
  bool draining_ = false;
};

}  // namespace holdfast::proxy
