// Certificates: keeps what TLS shows and trusts in step with its files, between two reloads. Every
// look_every each file is looked at; where one has changed its context is made anew and put into
// use for the handshakes that begin afterwards. Connections that are open stay.
//
// Contract: on the main loop's thread; files are read on a thread of libuv's pool. A file that is
// replaced (by rename, by a symbolic link on the way to it) and one that is written to are seen
// alike. What cannot be used, a key beside another's certificate for instance, changes nothing: the
// old context stays, the log says why, once, and each look tries again.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "holdfast/base/log.h"
#include "holdfast/base/result.h"
#include "holdfast/base/time.h"
#include "holdfast/proxy/config.h"
#include "holdfast/runtime/event_loop.h"
#include "holdfast/runtime/task.h"

namespace holdfast::app {

/// The certificate that a listener shows, or an upstream or the store is shown, for its gauges.
struct CertificateState {
  std::string kind;  // "listener", "upstream" or "store"
  std::string owner;
  std::optional<WallTime> end;  // nullopt: none is shown
  bool stale = false;           // its files hold something that cannot be used
};

class Certificates {
 public:
  static constexpr std::chrono::seconds look_every{5};

  /// Both outlive this.
  Certificates(runtime::EventLoop& loop, Logger& logger, Duration pause = look_every)
      : loop_(loop), logger_(logger), pause_(pause) {}
  Certificates(const Certificates&) = delete;
  Certificates& operator=(const Certificates&) = delete;

  /// From now on those of `config` are kept, and what its store connects with (nullptr: it has no
  /// TLS).
  void use(const proxy::Config& config, const std::shared_ptr<net::TlsClientCredentials>& store);
  /// Looks once: what has changed is in use soon.
  void look();
  /// Looks again and again, for as long as it runs.
  runtime::Task<void> watch();
  std::vector<CertificateState> states() const;

 private:
  /// True: something new is in use. An error: why it is not.
  using Renewal = Result<bool, std::string>;
  struct Kept {
    std::string kind;
    std::string owner;
    std::function<Renewal()> renew;
    std::function<std::optional<WallTime>()> end;
    std::string failure = "";  // what was said of it last
  };
  template <class Context>
  void keep(std::string kind, std::string owner,
            const std::shared_ptr<net::TlsCredentials<Context>>& credentials);

  void tell(const std::vector<Renewal>& renewals);

  runtime::EventLoop& loop_;
  Logger& logger_;
  const Duration pause_;
  std::vector<Kept> kept_;
  std::uint64_t generation_ = 0;  // of kept_
  bool looking_ = false;
  const std::shared_ptr<void> alive_ = std::make_shared<bool>(true);  // for a look that outlives us
};

}  // namespace holdfast::app
