#include "holdfast/app/certificates.h"

#include <algorithm>
#include <utility>

namespace holdfast::app {

template <class Context>
void Certificates::keep(std::string kind, std::string owner,
                        const std::shared_ptr<net::TlsCredentials<Context>>& credentials) {
  const auto renew = [credentials]() -> Renewal {
    const std::shared_ptr<const Context> current = credentials->current();
    if (!current->files_changed()) return false;
    auto made = current->read_again();
    // Not the file: its name may have come from the environment, which is not repeated.
    if (!made) return unexpected(made.error().key + ": " + made.error().reason);
    credentials->replace(std::move(*made));
    return true;
  };
  const auto end = [credentials] { return credentials->current()->certificate_end(); };
  kept_.push_back({std::move(kind), std::move(owner), renew, end});
}

void Certificates::use(const proxy::Config& config,
                       const std::shared_ptr<net::TlsClientCredentials>& store) {
  ++generation_;
  kept_.clear();
  for (const proxy::ListenerConfig& listener : config.listeners) {
    if (listener.credentials) keep("listener", listener.name, listener.credentials);
  }
  for (const auto& [name, upstream] : config.upstreams) {
    // One for all of its endpoints.
    const auto secure = std::ranges::find_if(
        upstream.endpoints, [](const auto& endpoint) { return endpoint.credentials != nullptr; });
    if (secure != upstream.endpoints.end()) keep("upstream", name, secure->credentials);
  }
  if (store) keep("store", std::string(name(config.store.kind)), store);
}

runtime::Task<void> Certificates::watch() {
  for (;;) {
    const TimePoint next = after(loop_.context().now(), pause_);
    co_await runtime::sleep_until(loop_.context().timers, next);
    look();
  }
}

void Certificates::look() {
  if (kept_.empty() || std::exchange(looking_, true)) return;
  auto renewals = std::make_shared<std::vector<Renewal>>();
  loop_.run_blocking(
      [kept = kept_, renewals] {
        for (const Kept& one : kept) renewals->push_back(one.renew());
      },
      [this, alive = std::weak_ptr<void>(alive_), renewals, generation = generation_] {
        if (alive.expired()) return;
        looking_ = false;
        if (generation == generation_) tell(*renewals);
      });
}

void Certificates::tell(const std::vector<Renewal>& renewals) {
  for (std::size_t i = 0; i < kept_.size(); ++i) {
    Kept& one = kept_[i];
    const std::string failure = renewals[i] ? "" : renewals[i].error();
    if (renewals[i] && *renewals[i]) {
      logger_.log(LogLevel::info, "certificates renewed", {{one.kind, one.owner}});
    } else if (!failure.empty() && failure != one.failure) {
      logger_.log(LogLevel::error, "certificates refused, the old ones stay",
                  {{one.kind, one.owner}, {"reason", failure}});
    }
    one.failure = failure;
  }
}

std::vector<CertificateState> Certificates::states() const {
  std::vector<CertificateState> states;
  for (const Kept& one : kept_) {
    states.push_back({one.kind, one.owner, one.end(), !one.failure.empty()});
  }
  return states;
}

}  // namespace holdfast::app
