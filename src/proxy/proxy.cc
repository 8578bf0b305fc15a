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

void Proxy::refused(Transaction& transaction, const http::RequestError&,
                    std::string_view request_id) {
  const http::RequestHead& request = transaction.request();
  ExchangeRecord record;
  record.method = request.method;
  record.method_text = request.method_text;
  record.path = request.path;
  record.status = transaction.status();
  record.error = name(ErrorType::http_request_error);
  record.bytes_out = transaction.bytes_out();
  record.request_id = request_id;
  record.client = transaction.client();
  record.started = transaction.started_wall();
  record.duration = services_.context.now() - transaction.started();
  services_.observer.exchange_finished(record);
}

}  // namespace holdfast::proxy
