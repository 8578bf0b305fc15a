#include "holdfast/proxy/proxy.h"

#include <utility>

#include "holdfast/base/assert.h"
#include "holdfast/proxy/exchange.h"

namespace holdfast::proxy {

Proxy::~Proxy() {
  forget_unused();
  HOLDFAST_ASSERT(earlier_.empty() && (!current_ || !current_->pinned()));
}

void Proxy::adopt(std::shared_ptr<const PublishedConfig> published) {
  auto next = std::make_unique<Generation>(std::move(published), services_, current_.get());
  if (current_) {
    current_->retire_what_is_gone(*next);
    earlier_.push_back(std::move(current_));
  }
  current_ = std::move(next);
  forget_unused();
}

void Proxy::forget_unused() {
  std::erase_if(earlier_, [](const auto& generation) { return !generation->pinned(); });
}

runtime::Task<void> Proxy::handle(Transaction& transaction) {
  if (!earlier_.empty()) forget_unused();
  Exchange exchange(transaction, *current_, services_);
  co_await exchange.run();
}

void Proxy::refused(Transaction& transaction, const http::RequestHead* head,
                    const http::RequestError& error) {
  refused_id_.emplace(services_.context.clock.wall_now(), services_.context.rng);
  ExchangeRecord record;
  if (head != nullptr) {
    record.method = head->method;
    record.method_text = head->method_text;
    record.path = head->path;
  }
  record.status = http::status_of(error.problem);
  record.error = http::name(error.problem);
  record.request_id = refused_id_->text();
  record.client = transaction.client();
  record.started = transaction.started_wall();
  record.duration = services_.context.now() - transaction.started();
  services_.observer.exchange_finished(record);
}

std::string_view Proxy::request_id(Transaction&) {
  return refused_id_->text();
}

}  // namespace holdfast::proxy
